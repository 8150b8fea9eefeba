-- KEYS: the state of one subject. ARGV: now or '', month (3), milliseconds that states are kept, tokens of this day, of
--       this month, and '+' to add them or '>' to set them where less is known.

local now, month, ttl = clock(ARGV[1]), month_at(2), tonumber(ARGV[5])
local day_used, month_used = tonumber(ARGV[6]), tonumber(ARGV[7])
local state = load(KEYS[1])
enter(state, now, month)
if ARGV[8] == '+' then
  state.day_used, state.month_used = state.day_used + day_used, state.month_used + month_used
else
  state.day_used, state.month_used = math.max(state.day_used, day_used), math.max(state.month_used, month_used)
end
save(KEYS[1], state, now, ttl)
return 1
