-- The tables in which the Supabase CLI records applied migrations and seeds; this project records them in the same way.
create schema supabase_migrations authorization postgres;

create table supabase_migrations.schema_migrations (
    version text primary key,
    statements text[],
    name text
);
create table supabase_migrations.seed_files (
    path text primary key,
    hash text not null
);
alter table supabase_migrations.schema_migrations owner to postgres;
alter table supabase_migrations.seed_files owner to postgres;
