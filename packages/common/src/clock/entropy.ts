/** Where ids and keys come from. Like a Clock it is given by the caller, so that a run can be had again. */
export interface Entropy {
  /** A random UUID, never given before. */
  uuid(): string;
  /** So many bytes that nobody can guess. */
  bytes(count: number): Uint8Array;
}

export const systemEntropy: Entropy = {
  uuid: () => crypto.randomUUID(),
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};
