// The release of supabase/schemas, and the earlier releases that can be upgraded.

export interface Release {
  version: string;
  /** Version of its migration in supabase_migrations.schema_migrations: 14 digits, rising with each release. */
  stamp: string;
}

export interface Upgrade {
  from: string;
  stamp: string;
}

export const release: Release = { version: "0.2.0", stamp: "20261128000000" };

/** Each has a hand-written part in supabase/build/alterations and a frozen release in tests/fixtures/releases. */
export const upgrades: Upgrade[] = [{ from: "0.1.0", stamp: "20261128000100" }];

export const migrationPath = `migrations/${release.stamp}_create_symphony_messenger_schema.sql`;
export const rollbackPath = "rollback/rollback_symphony_messenger_schema.sql";

export function upgradePath({ from, stamp }: Upgrade): string {
  const [old, next] = [from, release.version].map((version) => version.replaceAll(".", "_"));
  return `upgrades/${stamp}_upgrade_symphony_messenger_${old}_to_${next}.sql`;
}
