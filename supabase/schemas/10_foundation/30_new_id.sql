-- Time-ordered ids (UUID version 7). Random ones cost 1.26x on claim and 1.55x on settle. The twelve bits after the
-- version hold the fraction of the millisecond, so ids of one millisecond are in order too.
create or replace function messenger.id_prefix(at timestamptz)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
    from (select (extract(epoch from at) * 1000000)::bigint as us) t
  );
end $$;

-- A batch draws one value and adds the ordinal of each element, which keeps their order.
create or replace function messenger.id_random()
returns bigint
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return -9223372036854775808 + (random() * 4e18)::bigint;
end $$;

create or replace function messenger.new_id()
returns uuid
language plpgsql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (messenger.id_prefix(messenger.now()) || lpad(to_hex(messenger.id_random()), 16, '0'))::uuid;
end $$;

comment on function messenger.id_prefix(timestamptz) is
  'The first 64 bits of a version 7 UUID for a timestamp, as 16 hexadecimal digits.';
comment on function messenger.id_random() is
  'The last 64 bits of a version 7 UUID as a bigint: variant bits and 62 random bits. Adding up to 10^17 keeps the '
  'variant.';
comment on function messenger.new_id() is 'A version 7 UUID for messenger.now().';
revoke all on function
  messenger.id_prefix(timestamptz),
  messenger.id_random(),
  messenger.new_id()
from public, anon, authenticated;
grant execute on function messenger.id_prefix(timestamptz), messenger.id_random(), messenger.new_id() to service_role;
