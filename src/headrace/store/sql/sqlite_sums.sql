-- The first of two statements of one transaction, which no other writer interrupts: add the records in the parameter, a JSON
-- array, that are not noted yet to the sums. The second one notes them.
INSERT INTO usage_daily (day, tenant_id, key_id, model, requests, failed, prompt_tokens, cached_tokens,
                         completion_tokens)
SELECT CAST(json_extract(value, '$[1]') AS INTEGER) / 86400 AS day, json_extract(value, '$[2]') AS tenant,
       json_extract(value, '$[3]') AS key, json_extract(value, '$[4]') AS model, count(*),
       count(*) FILTER (WHERE json_extract(value, '$[6]') >= 400), sum(json_extract(value, '$[7]')),
       sum(json_extract(value, '$[8]')), sum(json_extract(value, '$[9]'))
FROM json_each(:rows)
WHERE NOT EXISTS (
    SELECT 1 FROM usage_records AS known
    WHERE known.day = CAST(json_extract(value, '$[1]') AS INTEGER) / 86400 AND known.id = json_extract(value, '$[0]')
)
GROUP BY 1, 2, 3, 4
ON CONFLICT (day, tenant_id, key_id, model) DO UPDATE SET
    requests = requests + excluded.requests,
    failed = failed + excluded.failed,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens
