-- Finds statements in a job's command that Postgres does not run inside a function, before such a job is imported.

-- Skips comments, literals and quoted names, as the server's own scanner does.
create or replace function messenger.leading_words(command text)
returns setof text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest text := command;
  v_token text;
  v_words text[] := '{}'::text[];
begin
  while v_rest <> '' loop
    v_token := messenger.read_token(v_rest);
    if v_token = ';' then
      if v_words <> '{}' then
        return next array_to_string(v_words, ' ');
      end if;
      v_words := '{}';
    elsif v_token !~ '^(\s|--|/\*)' and cardinality(v_words) < 12 then
      v_words := v_words || upper(left(v_token, 100) collate "C");
    end if;
    v_rest := substr(v_rest, length(v_token) + 1);
  end loop;
  if v_words <> '{}' then
    return next array_to_string(v_words, ' ');
  end if;
end $$;

create or replace function messenger.read_token(sql text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_token text := substring(sql from '^(?:\s+|--[^\n]*)');
  v_delimiter text;
  v_end int := 3;
  v_depth int := 1;
begin
  if v_token is not null then
    return v_token;
  elsif starts_with(sql, '/*') then
    -- Comments nest.
    while v_depth > 0 and v_end <= length(sql) loop
      v_delimiter := substr(sql, v_end, 2);
      v_depth := v_depth + case v_delimiter when '/*' then 1 when '*/' then -1 else 0 end;
      v_end := v_end + case when v_delimiter in ('/*', '*/') then 2 else 1 end;
    end loop;
    return left(sql, v_end - 1);
  end if;
  v_delimiter := substring(sql from '^\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$');
  if v_delimiter is not null then
    v_end := strpos(substr(sql, length(v_delimiter) + 1), v_delimiter);
    return case when v_end = 0 then sql else left(sql, v_end + 2 * length(v_delimiter) - 1) end;
  end if;
  return coalesce(
    substring(sql from $e$^[eE]'(?:[^'\\]|\\.|'')*(?:'|$)$e$), substring(sql from $l$^'(?:[^']|'')*(?:'|$)$l$),
    substring(sql from '^"(?:[^"]|"")*(?:"|$)'),
    substring(sql from '^[A-Za-z_][A-Za-z0-9_$]*'), left(sql, 1));
end $$;

-- Covers the statements rejected by PreventInTransactionBlock and by plpgsql's EXECUTE, and COPY from or to the client.
create or replace function messenger.needs_no_transaction(command text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select substring(w.words
      from '^[A-Z]+(?: (?:TRANSACTION|DATABASE|SYSTEM|TABLESPACE|SUBSCRIPTION|(?:UNIQUE )?INDEX|ALL)\M)?')
    from messenger.leading_words(command) w(words)
    where w.words ~ ('^(VACUUM|BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE '
      'TRANSACTION|ALTER SYSTEM|DISCARD ALL'
        || '|(CREATE|DROP) (DATABASE|TABLESPACE|SUBSCRIPTION)|REINDEX (\( .* \) )?(DATABASE|SYSTEM)|CLUSTER( '
          'VERBOSE)?$)(\s|$)')
      or w.words ~ '^(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX( \(.*\))? (INDEX|TABLE|SCHEMA)) CONCURRENTLY(\s|$)'
      or w.words ~ '^REINDEX \( (.* )?CONCURRENTLY(\s|$)'
      or w.words ~ '^COPY .* (FROM STDIN|TO STDOUT)(\s|$)'
    limit 1);
end $$;

comment on function messenger.leading_words(text) is
  'The first words of each statement of an SQL text, in upper case, without comments.';
comment on function messenger.read_token(text) is
  'The first token of an SQL text: white space, a comment, a literal, a name, or one character.';
comment on function messenger.needs_no_transaction(text) is
  'The leading keywords of the first statement that Postgres does not run inside a function; null if there is none.';
revoke all on function
  messenger.leading_words(text),
  messenger.read_token(text),
  messenger.needs_no_transaction(text)
from public, anon, authenticated, service_role;
