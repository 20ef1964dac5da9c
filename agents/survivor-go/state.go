package main

import (
	"encoding/binary"
	"fmt"
)

const (
	magic      = 0x56525553 // "SURV"
	version    = 1
	maxPlaces  = 16
	stateBytes = 72 + maxPlaces*16
)

type place struct {
	Tick  uint64
	Price int64
}

// state is what a checkpoint holds, in the form of agents/survivor: see README.md there.
type state struct {
	Ticks        uint64
	BornNs       int64
	LastTickNs   int64
	Gaps         uint64
	LongestGapNs int64
	Moves        uint64
	Mark         uint64  // eight random bytes of its first tick, by which two survivors can be told apart
	Places       []place // where it has been, oldest first; the newest 16
}

// price is that of the host that it is on, as of the last tick; 0 in a state that names no place.
func (s *state) price() int64 {
	if len(s.Places) == 0 {
		return 0
	}
	return s.Places[len(s.Places)-1].Price
}

// arrive adds to the places where it has been; of more than 16 the oldest is forgotten.
func (s *state) arrive(tick uint64, price int64) {
	if len(s.Places) == maxPlaces {
		s.Places = append(s.Places[:0], s.Places[1:]...)
	}
	s.Places = append(s.Places, place{tick, price})
}

func (s *state) bytes() []byte {
	to := binary.LittleEndian
	bytes := make([]byte, 0, stateBytes)
	bytes = to.AppendUint32(bytes, magic)
	bytes = to.AppendUint32(bytes, version)
	for _, number := range []uint64{
		s.Ticks, uint64(s.BornNs), uint64(s.LastTickNs), s.Gaps, uint64(s.LongestGapNs), s.Moves, s.Mark,
	} {
		bytes = to.AppendUint64(bytes, number)
	}
	bytes = to.AppendUint32(bytes, uint32(len(s.Places)))
	bytes = to.AppendUint32(bytes, 0)
	for _, place := range s.Places {
		bytes = to.AppendUint64(bytes, place.Tick)
		bytes = to.AppendUint64(bytes, uint64(place.Price))
	}
	return append(bytes, make([]byte, stateBytes-len(bytes))...)
}

// stateFrom says why if these are not the bytes of a survivor.
func stateFrom(bytes []byte) (*state, error) {
	from := binary.LittleEndian
	if len(bytes) < 8 || from.Uint32(bytes) != magic {
		return nil, fmt.Errorf("this is no state of a survivor")
	}
	if found := from.Uint32(bytes[4:]); found != version {
		return nil, fmt.Errorf("the state has version %d, this survivor reads version %d", found, version)
	}
	if len(bytes) != stateBytes {
		return nil, fmt.Errorf("the state has %d bytes, version 1 has %d", len(bytes), stateBytes)
	}
	number := func(at int) uint64 { return from.Uint64(bytes[at:]) }
	s := &state{
		Ticks:        number(8),
		BornNs:       int64(number(16)),
		LastTickNs:   int64(number(24)),
		Gaps:         number(32),
		LongestGapNs: int64(number(40)),
		Moves:        number(48),
		Mark:         number(56),
	}
	count := from.Uint32(bytes[64:])
	if count > maxPlaces {
		return nil, fmt.Errorf("the state names more places than it can hold")
	}
	for at := 72; at < 72+int(count)*16; at += 16 {
		s.Places = append(s.Places, place{number(at), int64(number(at + 8))})
	}
	return s, nil
}
