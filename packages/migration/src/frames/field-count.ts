// How many values a protobuf message has, before any of them is made: a frame of a few bytes each would else become a hundred
// times its size in objects.

import type { DescMessage } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Whether it has more fields than that, those of messages within it counted too. Throws for what is cut short. */
export function hasMoreFields(schema: DescMessage, bytes: Uint8Array, most: number): boolean {
  return count(schema, new BinaryReader(bytes), bytes.length, most) > most;
}

/** No further than to one above `most`. */
function count(schema: DescMessage, reader: BinaryReader, end: number, most: number): number {
  let found = 0;
  while (reader.pos < end && found <= most) {
    const [number, wireType] = reader.tag();
    found++;
    const field = schema.fields.find((candidate) => candidate.number === number);
    const inner = field?.message;
    if (inner === undefined || wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      continue;
    }
    const length = reader.uint32();
    found += count(inner, reader, Math.min(end, reader.pos + length), most - found);
  }
  return found;
}
