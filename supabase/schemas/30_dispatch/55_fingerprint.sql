-- Equality of payloads for idempotency keys: what is equal as jsonb has one fingerprint.

-- jsonb keeps the order of keys and drops whitespace, but prints a number with the zeros it was sent with: 1 and 1.0 are
-- equal and print differently. Few payloads have such a number, so most pay for one look only. A string is matched whole,
-- which passes over the numbers in it. jsonb_hash_extended would be shorter, but it gives lists whose elements 32 places
-- apart are exchanged the same hash.
create or replace function messenger.fingerprint(body jsonb)
returns bytea
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := body::text;
begin
  if v_text ~ '[.][0-9]*0[],}]' then
    v_text := regexp_replace(v_text, '("(?:[^"\\]|\\.)*")|[.]0+(?=[],}])|([.][0-9]*[1-9])0+(?=[],}])', '\1\2', 'g');
  end if;
  return sha256(convert_to(v_text, 'UTF8'));
end $$;

comment on function messenger.fingerprint(jsonb) is 'SHA-256 of a JSON object, equal for objects that are equal as jsonb.';
revoke all on function messenger.fingerprint(jsonb) from public, anon, authenticated;
grant execute on function messenger.fingerprint(jsonb) to service_role;
