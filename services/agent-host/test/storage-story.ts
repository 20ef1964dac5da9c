// Checkpoints that real hosts could have written, for tests of what is kept of them.

export { ada, bob, cleo, createAgent, grantOf, next, travelled, walletOf } from "@godwit/lineage/testing";
