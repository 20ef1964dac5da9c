/** What a field of a fault may hold. `strings` is a list. */
export type FieldKind = "string" | "bigint" | "number" | "strings";

export type Fields = Readonly<Record<string, FieldKind>>;

interface ValueOf {
  readonly string: string;
  readonly bigint: bigint;
  readonly number: number;
  readonly strings: readonly string[];
}

export type DataOf<F extends Fields> = { readonly [K in keyof F]: ValueOf[F[K]] };

export interface Row<F extends Fields> {
  readonly fields: F;
  // A method, so that a table of rows with different fields is still a table of rows.
  message(data: DataOf<F>): string;
}

export type Rows = Readonly<Record<string, Row<Fields>>>;

/** A row of the table of codes. */
export function code<const F extends Fields>(fields: F, message: (data: DataOf<F>) => string): Row<F> {
  return { fields, message };
}
