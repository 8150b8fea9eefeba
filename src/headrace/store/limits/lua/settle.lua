-- KEYS: for each subject its state and its leases.
-- ARGV: now or '', member, reserved tokens, used tokens, month (3), milliseconds that states are kept, and for each
--       subject: its number, the request cost to give back, and what the tokens cost beyond the reserved ones (less
--       than 0: what they cost less).

local now, member, reserved, used = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local month, ttl = month_at(5), tonumber(ARGV[8])

for subject = 1, #KEYS / 2 do
  local key = KEYS[2 * subject - 1]
  local state = load(key)
  local first = 8 + 3 * (subject - 1)
  local number, request, excess = tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  if redis.call('ZREM', KEYS[2 * subject], member) == 1 then
    state.held = math.max(0, state.held - reserved)
  end
  enter(state, now, month)
  state.day_used = state.day_used + used
  state.month_used = state.month_used + used
  if request > 0 then refund(state.requests, number, request) end
  if excess < 0 then
    refund(state.tokens, number, -excess)
  elseif excess > 0 then
    state.number = state.number + 1
    take(state.tokens, now, state.number, excess)
  end
  save(key, state, now, ttl)
end
return 1
