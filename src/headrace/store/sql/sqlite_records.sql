-- Note the records in the parameter, a JSON array, that are not noted yet.
INSERT INTO usage_records (day, id, at, tenant_id, key_id, model, path, status, prompt_tokens, cached_tokens,
                           completion_tokens, estimated)
SELECT CAST(json_extract(value, '$[1]') AS INTEGER) / 86400, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
       json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]'),
       json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
       json_extract(value, '$[8]'), json_extract(value, '$[9]'), json_extract(value, '$[10]')
FROM json_each(:rows)
WHERE true
ON CONFLICT DO NOTHING
