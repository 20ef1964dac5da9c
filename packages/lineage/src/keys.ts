// Ed25519 keys, and host ids, which are libp2p peer ids with the public key in them.
//
// A key has one host id: another spelling of the same peer id is refused, so that two strings never name one host.

import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { Fault } from "@godwit/common/fault";
import { publicKeyFromRaw } from "@libp2p/crypto/keys";
import { peerIdFromPublicKey, peerIdFromString } from "@libp2p/peer-id";
import { Lru } from "./lru.ts";

/** Signs with a private key that it does not give away. */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

const KEY_BYTES = 32;
/** DER of an Ed25519 key, up to the key itself. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** Ed25519 peer ids have 52 characters; reading base58 costs the square of the length. */
const MAX_HOST_ID_CHARS = 64;

const MAX_KEYS = 4096;
const keys = new Lru<string, KeyObject>(MAX_KEYS);
const hosts = new Lru<string, Uint8Array>(MAX_KEYS);
const hostIds = new Lru<string, string>(MAX_KEYS);

/** `seed`: 32 bytes, which are the private key. Throws Fault INVALID_ARGUMENT for another length. */
export function signerFromSeed(seed: Uint8Array): Signer {
  checkLength(seed, "seed");
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return {
    publicKey: new Uint8Array(spki.subarray(-KEY_BYTES)),
    sign: (bytes) => new Uint8Array(sign(null, bytes, privateKey)),
  };
}

/** The host id of a public key. Throws Fault INVALID_ARGUMENT unless it has 32 bytes. */
export function hostIdOf(publicKey: Uint8Array): string {
  checkLength(publicKey, "public key");
  const name = Buffer.from(publicKey).toString("latin1");
  const known = hostIds.get(name);
  if (known !== undefined) return known;
  const hostId = peerIdFromPublicKey(publicKeyFromRaw(new Uint8Array(publicKey))).toString();
  hostIds.set(name, hostId);
  return hostId;
}

/** The 32 bytes of the public key in a host id. Throws Fault INVALID_ARGUMENT for what is no Ed25519 peer id. */
export function publicKeyOfHost(hostId: string): Uint8Array {
  const known = hosts.get(hostId) ?? readHostId(hostId);
  if (known === undefined) {
    throw new Fault({
      code: "INVALID_ARGUMENT",
      field: "host id",
      reason: `${JSON.stringify(hostId.slice(0, MAX_HOST_ID_CHARS))} is not an Ed25519 peer id (12D3KooW…)`,
    });
  }
  hosts.set(hostId, known);
  return new Uint8Array(known);
}

export function isHostId(text: string): boolean {
  const known = hosts.get(text) ?? readHostId(text);
  if (known !== undefined) hosts.set(text, known);
  return known !== undefined;
}

/** The key as node:crypto wants it. Throws Fault INVALID_ARGUMENT unless it has 32 bytes. */
export function verifyingKey(publicKey: Uint8Array): KeyObject {
  checkLength(publicKey, "public key");
  const name = Buffer.from(publicKey).toString("latin1");
  const known = keys.get(name);
  if (known !== undefined) return known;
  const key = createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: "der", type: "spki" });
  keys.set(name, key);
  return key;
}

function readHostId(text: string): Uint8Array | undefined {
  if (text.length > MAX_HOST_ID_CHARS) return undefined;
  try {
    const peer = peerIdFromString(text);
    return peer.type === "Ed25519" && peer.toString() === text ? new Uint8Array(peer.publicKey.raw) : undefined;
  } catch {
    return undefined; // the library throws all sorts of errors for what is no peer id
  }
}

function checkLength(bytes: Uint8Array, field: string): void {
  if (bytes.length === KEY_BYTES) return;
  throw new Fault({ code: "INVALID_ARGUMENT", field, reason: `give ${KEY_BYTES} bytes, not ${bytes.length}` });
}
