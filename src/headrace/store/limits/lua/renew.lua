-- KEYS: the leases of one subject. ARGV: now or '', microseconds of a lease, members. What has expired stays so.

local expiry = string.format('%.0f', clock(ARGV[1]) + tonumber(ARGV[2]))
for index = 3, #ARGV do redis.call('ZADD', KEYS[1], 'XX', expiry, ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ARGV[2] / 1000 + 60000))
return 1
