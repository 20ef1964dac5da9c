package main

import "unsafe"

// What a host offers, of which survivor uses this. Each call needs the capability of its line in the manifest.

//go:wasmimport godwit clock_now
func clockNow() int64 // clock: nanoseconds since 1970

//go:wasmimport godwit rand_bytes
func randBytes(to unsafe.Pointer, length int32) int32 // rand: 0, or less than 0 and nothing was written

//go:wasmimport godwit log_emit
func logEmit(from unsafe.Pointer, length int32) // log

//go:wasmimport godwit node_price
func nodePrice() int64 // pricing: microcents a second

func say(message string) {
	logEmit(unsafe.Pointer(unsafe.StringData(message)), int32(len(message)))
}
