-- The catalog of this release, generated from manifest.json.
create or replace function messenger.expected_manifest()
returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $function$ select $manifest$[
@ROWS@
]$manifest$::jsonb $function$;
comment on function messenger.expected_manifest() is
  'The catalog of this release, as [kind, object, definition]. messenger_verify compares the database with it, '
  'and the rollback removes the objects in it.';
revoke all on function messenger.expected_manifest() from public, anon, authenticated, service_role;
