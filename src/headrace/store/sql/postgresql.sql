-- Note the records in the parameter, a JSON array, that are not noted yet, and add them to the sums, all in one statement.
-- Sums are touched in the order of their key, so that two replicas at once cannot wait for each other.
WITH new AS (
    INSERT INTO usage_records (day, id, at, tenant_id, key_id, model, path, status, prompt_tokens, cached_tokens,
                               completion_tokens, estimated)
    SELECT CAST(floor(CAST(r->>1 AS double precision) / 86400) AS integer), r->>0, CAST(r->>1 AS double precision),
           r->>2, r->>3, r->>4, r->>5, CAST(r->>6 AS integer), CAST(r->>7 AS bigint), CAST(r->>8 AS bigint),
           CAST(r->>9 AS bigint), CAST(r->>10 AS boolean)
    FROM json_array_elements(CAST(:rows AS json)) AS r
    ON CONFLICT DO NOTHING
    RETURNING day, tenant_id, key_id, model, status, prompt_tokens, cached_tokens, completion_tokens
)
INSERT INTO usage_daily (day, tenant_id, key_id, model, requests, failed, prompt_tokens, cached_tokens,
                         completion_tokens)
SELECT day, tenant_id, key_id, model, count(*), count(*) FILTER (WHERE status >= 400), sum(prompt_tokens),
       sum(cached_tokens), sum(completion_tokens)
FROM new
GROUP BY day, tenant_id, key_id, model
ORDER BY day, tenant_id, key_id, model
ON CONFLICT (day, tenant_id, key_id, model) DO UPDATE SET
    requests = usage_daily.requests + excluded.requests,
    failed = usage_daily.failed + excluded.failed,
    prompt_tokens = usage_daily.prompt_tokens + excluded.prompt_tokens,
    cached_tokens = usage_daily.cached_tokens + excluded.cached_tokens,
    completion_tokens = usage_daily.completion_tokens + excluded.completion_tokens
