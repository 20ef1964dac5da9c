import type { Options, ValuesOf } from "@godwit/common/config";

/** What a service has when nothing is said: flags with their fallbacks, the optional ones unset. */
export function fallbacksOf<O extends Options>(options: O): ValuesOf<O> {
  const values = Object.entries(options).map(([name, { presence }]) => {
    return [name, typeof presence === "object" ? presence.fallback : undefined];
  });
  return Object.fromEntries(values) as ValuesOf<O>;
}
