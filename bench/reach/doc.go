// Package reach records which functions and named locks of a kernel the work of a guest
// reaches: the places of a scenarios/sites file.
//
// While the guest does a work, INT3 stands at the first byte of every function that begins
// with a hook of the function tracer. The first call of each is an event: the byte is put
// back, and the vCPU goes on. So each function costs the guest one stop, and none that is
// called is missed. After that, INT3 stands at the functions that take locks. It stays:
// after each event the vCPU steps over it. The lock is the function's first argument. It
// counts if a symbol stands exactly there.
//
// The guest must have one vCPU: others would pass a breakpoint while one steps over it. It
// is not for a guest that somebody needs: if the recording is killed, INT3 stays.
package reach
