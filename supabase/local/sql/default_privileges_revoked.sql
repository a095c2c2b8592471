-- Newer projects: applied after the legacy grants, as Supabase does; TRUNCATE,
-- REFERENCES and TRIGGER on tables stay granted.
alter default privileges for role postgres in schema public
revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke execute on functions from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke usage, select on sequences from anon, authenticated, service_role;
