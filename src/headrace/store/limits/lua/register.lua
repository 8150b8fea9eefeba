-- KEYS: the processes that share the limits, and the name of these data. ARGV: now or '', microseconds for which a
--       process counts, its name.
-- Returns how many there are, and the name, which is another one after the server lost its data.

local now, lasts = clock(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lasts), ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lasts / 1000))
redis.call('SET', KEYS[2], ARGV[3] .. ':' .. string.format('%.0f', now), 'NX')
return {redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2])}
