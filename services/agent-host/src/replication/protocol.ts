/** Also the name under which libp2p knows it. */
export const REPLICATE_PROTOCOL = "/godwit/replicate/1";
