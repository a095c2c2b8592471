-- Fingerprints of payloads for idempotency keys: values that are equal as jsonb have the same fingerprint.

-- jsonb sorts keys and drops whitespace, but prints a number with its trailing zeros: 1 and 1.0 are equal and print
-- differently. Few payloads contain such a number, so most cost one regular expression only. A string is matched as a
-- whole, which skips the numbers in it. jsonb_hash_extended would be shorter, but it gives the same hash to lists whose
-- elements 32 positions apart are exchanged.
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

comment on function messenger.fingerprint(jsonb) is
  'SHA-256 of a JSON object, the same for objects that are equal as jsonb.';
revoke all on function messenger.fingerprint(jsonb) from public, anon, authenticated;
grant execute on function messenger.fingerprint(jsonb) to service_role;
