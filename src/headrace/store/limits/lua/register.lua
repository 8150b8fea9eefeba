-- KEYS: the processes that share the limits. ARGV: now or '', microseconds for which one counts, its name.
-- Returns how many there are.

local now, lasts = clock(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lasts), ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lasts / 1000))
return redis.call('ZCARD', KEYS[1])
