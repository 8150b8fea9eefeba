-- The same as bucket.py, budget.py and account.py, on states that live in Redis. Times are microseconds.

local MINUTE, SECOND, DAY = 60000000, 1000000, 86400000000
local MINIMA = 32

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function load(key)
  local packed = redis.call('GET', key)
  if packed then return cmsgpack.unpack(packed) end
  return {
    number = 0, held = 0, day = 0, day_used = 0, month = 0, month_used = 0,
    requests = {tat = 0, steps = {}, lows = {}}, tokens = {tat = 0, steps = {}, lows = {}},
  }
end

-- It is kept for ttl milliseconds, and for as long as a debt lasts.
local function save(key, state, now, ttl)
  local tat = math.max(state.requests.tat, state.tokens.tat)
  ttl = math.max(ttl, math.ceil((tat - now + MINUTE) / 1000))
  redis.call('SET', key, cmsgpack.pack(state), 'PX', string.format('%.0f', ttl))
end

local function wait_of(bucket, now, cost)
  return math.max(0, bucket.tat - now) + cost - MINUTE
end

local function take(bucket, now, number, cost)
  local backlog, steps, lows = bucket.tat - now, bucket.steps, bucket.lows
  if backlog <= 0 then
    bucket.steps, bucket.lows, bucket.tat = {number}, {0}, now + cost
    return
  end
  while #lows > 0 and lows[#lows] >= backlog do
    table.remove(lows)
    table.remove(steps)
  end
  table.insert(lows, backlog)
  table.insert(steps, number)
  if #lows > MINIMA then
    table.remove(lows, 2)
    table.remove(steps, 1)
  end
  bucket.tat = bucket.tat + cost
end

local function refund(bucket, number, cost)
  local steps, lows = bucket.steps, bucket.lows
  local first = 1
  while first <= #steps and steps[first] <= number do first = first + 1 end
  if first <= #steps then
    cost = math.min(cost, lows[first])
    for index = first, #lows do lows[index] = lows[index] - cost end
    while first > 1 and lows[first - 1] >= lows[first] do
      table.remove(lows, first - 1)
      table.remove(steps, first - 1)
      first = first - 1
    end
  end
  bucket.tat = bucket.tat - cost
end

-- month is {number, start, finish} by the clock of the caller, which may be a little off.
local function enter(state, now, month)
  local day, current = math.floor(now / DAY), month[1]
  if now >= month[3] then current = current + 1 elseif now < month[2] then current = current - 1 end
  if state.day < day then state.day, state.day_used = day, 0 end
  if state.month < current then state.month, state.month_used = current, 0 end
end

local function month_at(index)
  return {tonumber(ARGV[index]), tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])}
end
