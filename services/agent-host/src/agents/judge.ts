// What a host does about an agent of which it is in doubt: @godwit/migration has it (judge.ts), so that the explorer runs it too.

export { judge, type Situation, type Verdict, type Wait } from "@godwit/migration";
