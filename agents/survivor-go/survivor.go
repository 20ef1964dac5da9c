// The survivor in Go: its state and what it says are those of agents/survivor, byte for byte, so that one may go on where the other stopped.
package main

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"
)

// Ticks come every second; this much without one, and something happened.
const gapNs = 3_000_000_000
const milestoneTicks = 10

var (
	current = &state{}
	// What agent_checkpoint_ptr points to.
	checkpoint []byte
	// What malloc gave: nothing else keeps it from being collected before agent_resume has it.
	arriving []byte
)

// A module of this kind is never run as a program; the compiler wants this all the same.
func main() {}

//go:wasmexport agent_init
func agentInit() {
	current = &state{}
}

//go:wasmexport agent_tick
func agentTick() {
	now, price := clockNow(), nodePrice()
	current.Ticks++
	if current.Ticks == 1 {
		current.beBorn(now, price)
	} else {
		current.noticeGap(now)
		current.noticeMove(price)
	}
	current.LastTickNs = now
	if current.Ticks%milestoneTicks == 0 {
		current.reportMilestone(now)
	}
}

//go:wasmexport agent_checkpoint
func agentCheckpoint() int32 {
	checkpoint = current.bytes()
	return int32(len(checkpoint))
}

//go:wasmexport agent_checkpoint_ptr
func agentCheckpointPtr() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(checkpoint))
}

//go:wasmexport malloc
func malloc(size int32) unsafe.Pointer {
	arriving = make([]byte, size)
	return unsafe.Pointer(unsafe.SliceData(arriving))
}

// agentResume ends in a trap if the state is not one of its own: better not to run than to run on a wrong memory.
//
//go:wasmexport agent_resume
func agentResume(_ unsafe.Pointer, length int32) {
	if length == 0 {
		return // never ticked, never checkpointed
	}
	found, err := stateFrom(arriving[:length])
	if err != nil {
		say(err.Error())
		panic(err)
	}
	current, arriving = found, nil
}

func (s *state) beBorn(now, price int64) {
	var mark [8]byte
	randBytes(unsafe.Pointer(&mark), int32(len(mark)))
	s.BornNs, s.Mark = now, binary.LittleEndian.Uint64(mark[:])
	s.arrive(1, price)
	born := time.Unix(0, now).UTC().Format("2006-01-02T15:04:05.000Z")
	say(fmt.Sprintf("born at %s on a host of price %d; mark %x", born, price, s.Mark))
}

func (s *state) noticeGap(now int64) {
	away := now - s.LastTickNs
	if away <= gapNs {
		return
	}
	s.Gaps++
	s.LongestGapNs = max(s.LongestGapNs, away)
	say(fmt.Sprintf("gap of %s before tick %d (number %d, longest %s)",
		seconds(away), s.Ticks, s.Gaps, seconds(s.LongestGapNs)))
}

func (s *state) noticeMove(price int64) {
	before := s.price()
	if price == before {
		return
	}
	s.Moves++
	s.arrive(s.Ticks, price)
	say(fmt.Sprintf("moved before tick %d: price %d -> %d (move %d)", s.Ticks, before, price, s.Moves))
}

func (s *state) reportMilestone(now int64) {
	say(fmt.Sprintf("tick %d: %s old, %d moves, %d gaps", s.Ticks, seconds(now-s.BornNs), s.Moves, s.Gaps))
}

// seconds has tenths, which is as much as a person reads.
func seconds(ns int64) string {
	tenths := ns / 100_000_000
	return fmt.Sprintf("%d.%d s", tenths/10, max(tenths, -tenths)%10)
}
