-- A stand-in for pg_net 0.20: its public functions, tables, defaults and
-- grants. `wakeups.ts` sends the queued requests.
create schema net;
grant usage on schema net to public;

create domain net.http_method as text
check (value ilike 'get' or value ilike 'post' or value ilike 'delete');

create unlogged table net.http_request_queue (
    id bigserial,
    method net.http_method not null,
    url text not null,
    headers jsonb,
    body bytea,
    timeout_milliseconds int not null
);

create unlogged table net._http_response (
    id bigint,
    status_code integer,
    content_type text,
    headers jsonb,
    content text,
    timed_out bool,
    error_msg text,
    created timestamptz not null default now()
);
create index on net._http_response (created);

grant all on all sequences in schema net to public;
grant all on all tables in schema net to public;

-- The real one sets the worker's latch at commit; a notification is delivered at the same moment.
create function net.wake() returns void
language sql
as $$ select pg_catalog.pg_notify('pg_net', '') $$;

create function net._urlencode_string(string varchar) returns text
language sql immutable
as $$
select coalesce(pg_catalog.string_agg(
    case
        when byte between 32 and 126 and pg_catalog.chr(byte) ~ '[A-Za-z0-9_.~-]' then pg_catalog.chr(byte)
        else '%' || pg_catalog.upper(pg_catalog.lpad(pg_catalog.to_hex(byte), 2, '0'))
    end,
    '' order by i
), '')
from
    (select pg_catalog.convert_to(string, 'UTF8') as bytes) as encoded,
    pg_catalog.generate_series(0, pg_catalog.length(bytes) - 1) as i,
    pg_catalog.get_byte(bytes, i) as byte
$$;

create function net._encode_url_with_params_array(url text, params_array text[]) returns text
language sql immutable
as $$
select case
    when pg_catalog.cardinality(params_array) = 0 then url
    else url || case when pg_catalog.strpos(url, '?') > 0 then '&' else '?' end
        || pg_catalog.array_to_string(params_array, '&')
end
$$;

create function net._enqueue(
    method text,
    url text,
    params jsonb,
    headers jsonb,
    body jsonb,
    timeout_milliseconds int
)
returns bigint
language plpgsql
as $$
declare
    params_array text[];
    request_id bigint;
begin
    select coalesce(array_agg(net._urlencode_string(key) || '=' || net._urlencode_string(value)), '{}')
    into params_array
    from jsonb_each_text(params);

    insert into net.http_request_queue (method, url, headers, body, timeout_milliseconds)
    values (
        method,
        net._encode_url_with_params_array(url, params_array),
        headers,
        convert_to(body::text, 'UTF8'),
        timeout_milliseconds
    )
    returning id into request_id;

    perform net.wake();
    return request_id;
end
$$;

create function net.http_get(
    url text,
    params jsonb default '{}',
    headers jsonb default '{}',
    timeout_milliseconds int default 5000
)
returns bigint
language sql
as $$ select net._enqueue('GET', url, params, headers, null, timeout_milliseconds) $$;

create function net.http_post(
    url text,
    body jsonb default '{}',
    params jsonb default '{}',
    headers jsonb default '{"Content-Type": "application/json"}',
    timeout_milliseconds int default 5000
)
returns bigint
language plpgsql
as $$
declare
    content_type text;
begin
    select header_value into content_type
    from jsonb_each_text(coalesce(headers, '{}')) as h (header_name, header_value)
    where lower(header_name) = 'content-type'
    limit 1;

    if content_type is null then
        headers := headers || '{"Content-Type": "application/json"}';
    elsif content_type <> 'application/json' then
        raise exception 'Content-Type header must be "application/json"';
    end if;

    return net._enqueue('POST', url, params, headers, body, timeout_milliseconds);
end
$$;

create function net.http_delete(
    url text,
    params jsonb default '{}',
    headers jsonb default '{}',
    timeout_milliseconds int default 5000,
    body jsonb default null
)
returns bigint
language sql
as $$ select net._enqueue('DELETE', url, params, headers, body, timeout_milliseconds) $$;
