// Certificates for tests, made on the spot: an authority and what it signs. X.509 in DER, P-256 and SHA-256, and only
// what TLS looks at.

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

export interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class Authority {
  readonly cert: Buffer;
  readonly #key: KeyObject;
  readonly #name: string;

  constructor(name: string) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    this.#name = name;
    const ca = extension("2.5.29.19", sequence(der(0x01, Buffer.from([0xff]))));
    this.cert = pem("CERTIFICATE", this.#signed(name, publicKey, ca));
  }

  /** A certificate for `name`, as its common name and as a DNS name. */
  issue(name: string): Identity {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const names = extension("2.5.29.17", sequence(der(0x82, Buffer.from(name, "ascii"))));
    const key = Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }));
    return { cert: pem("CERTIFICATE", this.#signed(name, publicKey, names)), key };
  }

  #signed(subject: string, publicKey: KeyObject, ...extensions: Buffer[]): Buffer {
    const algorithm = sequence(oid("1.2.840.10045.4.3.2"));
    const serial = randomBytes(8);
    serial[0] = 0x40;
    const year = new Date().getUTCFullYear();
    const body = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, serial),
      algorithm,
      commonName(this.#name),
      sequence(time(year - 1), time(year + 1)),
      commonName(subject),
      publicKey.export({ type: "spki", format: "der" }),
      der(0xa3, sequence(...extensions)),
    );
    return sequence(body, algorithm, bits(sign("sha256", body, this.#key)));
  }
}

function der(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  return Buffer.concat([Buffer.from([tag, 0x82, body.length >> 8, body.length & 0xff]), body]);
}

function sequence(...content: Buffer[]): Buffer {
  return der(0x30, ...content);
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.from([0]), content);
}

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid("2.5.4.3"), der(0x0c, Buffer.from(name, "utf8")))));
}

function time(year: number): Buffer {
  return der(0x18, Buffer.from(`${year}0101000000Z`, "ascii"));
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), der(0x04, value));
}

function pem(label: string, bytes: Buffer): Buffer {
  const lines = bytes.toString("base64").replace(/.{64}/g, "$&\n");
  return Buffer.from(`-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`);
}
