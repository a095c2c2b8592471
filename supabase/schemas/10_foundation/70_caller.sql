-- The calling user: the subject of the token that PostgREST has verified.

-- auth.uid() raises an error if the subject is not a UUID, as in tokens of Clerk and Firebase. A dispatch in the
-- transaction of the project's own insert must not fail for that.
create or replace function messenger.caller_id()
returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subject text := nullif(current_setting('request.jwt.claim.sub', true), '');
  v_claims text := nullif(current_setting('request.jwt.claims', true), '');
begin
  -- Most dispatches carry no token, and the block below costs a subtransaction.
  if v_subject is null and v_claims is null then
    return null;
  end if;
  begin
    return coalesce(v_subject, v_claims::jsonb ->> 'sub')::uuid;
  exception when data_exception then
    return null;
  end;
end $$;

comment on function messenger.caller_id() is
  'The signed-in user as in auth.uid(): the subject of the verified token. Null without a token, or if the subject is '
  'not a UUID.';
revoke all on function messenger.caller_id() from public, anon, authenticated;
grant execute on function messenger.caller_id() to service_role;
