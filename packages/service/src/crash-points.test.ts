import { isFault } from "@godwit/common/fault";
import { describe, expect, test } from "vitest";
import { CrashPoints } from "./crash-points.ts";

const points = ["claim.before-reply", "claim.after-apply"] as const;

function setUp(allowed = true) {
  const struck: string[] = [];
  const crashPoints = new CrashPoints({
    points,
    allowed,
    strike: ({ point, nth, action }) => struck.push(`${point} ${nth} ${action}`),
  });
  return { crashPoints, struck };
}

function refusal(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (isFault(error, "INVALID_ARGUMENT")) return error.detail.field;
    throw error;
  }
  return "accepted";
}

describe("crash points", () => {
  test("they are off by default: reached, armed or not, nothing happens", () => {
    const { crashPoints, struck } = setUp(false);
    crashPoints.reach("claim.before-reply");
    expect(refusal(() => crashPoints.arm({ point: "claim.before-reply", nth: 1, action: "crash" }))).toBe(
      "allow-crash-points",
    );
    crashPoints.reach("claim.before-reply");
    expect(struck).toEqual([]);
  });

  test("allowed but not armed, nothing happens", () => {
    const { crashPoints, struck } = setUp();
    crashPoints.reach("claim.before-reply");
    expect(struck).toEqual([]);
  });

  test("an armed point strikes once, at the time that was asked for, and no other point does", () => {
    const { crashPoints, struck } = setUp();
    crashPoints.armText("claim.before-reply:2:stop");
    crashPoints.reach("claim.after-apply");
    crashPoints.reach("claim.before-reply");
    expect(struck).toEqual([]);
    expect(crashPoints.armed()).toHaveLength(1);
    crashPoints.reach("claim.before-reply");
    crashPoints.reach("claim.before-reply");
    expect(struck).toEqual(["claim.before-reply 2 stop"]);
    expect(crashPoints.armed()).toEqual([]);
  });

  test("a bare name is the first time, and a crash", () => {
    const { crashPoints, struck } = setUp();
    crashPoints.armText("claim.after-apply");
    crashPoints.reach("claim.after-apply");
    expect(struck).toEqual(["claim.after-apply 1 crash"]);
  });

  test("disarmed, nothing happens", () => {
    const { crashPoints, struck } = setUp();
    crashPoints.armText("claim.after-apply");
    crashPoints.disarm();
    crashPoints.reach("claim.after-apply");
    expect(struck).toEqual([]);
  });

  test.each([
    ["point", "claim.never"],
    ["nth", "claim.after-apply:0"],
    ["nth", "claim.after-apply:often"],
    ["action", "claim.after-apply:1:explode"],
    ["crash-at", "claim.after-apply:1:stop:now"],
  ])("a wrong %s is refused: %s", (field, text) => {
    const { crashPoints } = setUp();
    expect(refusal(() => crashPoints.armText(text))).toBe(field);
    expect(crashPoints.armed()).toEqual([]);
  });
});
