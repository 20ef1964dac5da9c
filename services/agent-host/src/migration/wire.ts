/** §6. A change that older hosts would not understand gets another number. */
export const MIGRATE_PROTOCOL = "/godwit/migrate/1";

export interface MigrationTimeouts {
  readonly connectMs: number;
  readonly acceptMs: number;
  /** Module and spine travel, are verified and compiled within it. */
  readonly preparedMs: number;
  /** Protocol §11. */
  readonly startedMs: number;
  /** What a target waits for the source's next part. */
  readonly partMs: number;
  /** What the slowest link that is put up with carries; waits for something large are longer by as much as that takes. */
  readonly slowestBytesPerMs: number;
  readonly closeMs: number;
  /** How long a host that stops waits for its migrations. */
  readonly stopMs: number;
}

export const defaultMigrationTimeouts: MigrationTimeouts = {
  connectMs: 5_000,
  acceptMs: 10_000,
  preparedMs: 60_000,
  startedMs: 10_000,
  partMs: 60_000,
  slowestBytesPerMs: 1_024,
  closeMs: 2_000,
  stopMs: 5_000,
};
