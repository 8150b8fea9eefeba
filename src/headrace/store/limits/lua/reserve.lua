-- KEYS: for each subject its state and its leases.
-- ARGV: now or '', member, reserved tokens, microseconds of a lease, month (3), milliseconds that states are kept, and
--       for each subject: request cost, token cost, concurrency, tokens per day, per month; -1 is no limit.
-- Returns: the subject that refuses (0: none), its limit (1 to 5, as in ARGV), the wait, and for each subject its number
--          and the backlogs of requests and of tokens.

local now, member, reserved, lease = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local month, ttl = month_at(5), tonumber(ARGV[8])
local refuser, limit, longest = 0, 0, 0
local states, asked = {}, {}

-- Leases that nobody renewed: their process is gone.
local function purge(state, key)
  local dead = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
  for _, one in ipairs(dead) do
    state.held = state.held - tonumber(string.match(one, ':(%d+)$'))
  end
  if #dead > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now)) end
  local running = redis.call('ZCARD', key)
  if running == 0 then state.held = 0 end
  return running, #dead
end

local function offer(subject, index, wait)
  if wait > longest then refuser, limit, longest = subject, index, wait end
end

local function budget(subject, index, most, used, held, finish)
  if most < 0 then return end
  local wanted = math.min(reserved, most)
  if used + wanted > most then
    offer(subject, index, math.max(finish - now, 1))
  elseif used + held + wanted > most then
    offer(subject, index, SECOND)
  end
end

for subject = 1, #KEYS / 2 do
  local key, leases, args = KEYS[2 * subject - 1], KEYS[2 * subject], {}
  for index = 1, 5 do args[index] = tonumber(ARGV[8 + 5 * (subject - 1) + index]) end
  local state = load(key)
  local running, dead = purge(state, leases)
  enter(state, now, month)
  if dead > 0 then save(key, state, now, ttl) end
  if args[1] >= 0 then offer(subject, 1, wait_of(state.requests, now, args[1])) end
  if args[2] >= 0 then offer(subject, 2, wait_of(state.tokens, now, args[2])) end
  if args[3] >= 0 and running >= args[3] then offer(subject, 3, SECOND) end
  budget(subject, 4, args[4], state.day_used, state.held, (state.day + 1) * DAY)
  budget(subject, 5, args[5], state.month_used, state.held, month[3])
  states[subject], asked[subject] = state, args
end

local reply = {refuser, limit, longest}
for subject, state in ipairs(states) do
  if refuser == 0 then
    local args = asked[subject]
    state.number = state.number + 1
    if args[1] >= 0 then take(state.requests, now, state.number, args[1]) end
    if args[2] >= 0 then take(state.tokens, now, state.number, args[2]) end
    state.held = state.held + reserved
    redis.call('ZADD', KEYS[2 * subject], string.format('%.0f', now + lease), member)
    redis.call('PEXPIRE', KEYS[2 * subject], string.format('%.0f', lease / 1000 + 60000))
    save(KEYS[2 * subject - 1], state, now, ttl)
  end
  table.insert(reply, state.number)
  table.insert(reply, state.requests.tat - now)
  table.insert(reply, state.tokens.tat - now)
end
return reply
