package detect

import "fmt"

// disk is what is known of one disk.
type disk struct {
	name      string
	completed uint64
	movedNS   int64 // last inspection that showed a completion, or the first that showed the disk
	moved     bool  // it has completed something since it is watched
}

// disks follows what the disks complete. They are shown only while a thread waits for I/O.
// If a count is the same after a time without inspections, nothing was completed in it.
type disks struct {
	known [MaxDisks]disk
	n     int
	// The longest silence that ended with a completion, in ns, and when it ended. A disk
	// with nothing to do is silent too, so the silence counts only as far as a thread has
	// waited for I/O during it.
	slowNS, slowAtNS int64
}

// remembered is for how long a long silence counts, in ns.
const remembered = 60e9

// observe takes what an inspection shows. waitedNS is the length of the longest wait for
// I/O that has ended since the last one.
func (d *disks) observe(now []Disk, t, waitedNS int64) {
	if d.slowNS != 0 && t-d.slowAtNS > remembered {
		d.slowNS = 0
	}
	for i := range now[:min(len(now), MaxDisks)] {
		k := d.find(now[i].Name)
		if k == nil {
			if d.n == MaxDisks {
				continue
			}
			k = &d.known[d.n]
			d.n++
			*k = disk{name: now[i].Name, completed: now[i].Completed, movedNS: t}
		}
		if k.completed == now[i].Completed {
			continue
		}
		if silent := min(t-k.movedNS, waitedNS); silent > 0 && silent >= d.slowNS {
			d.slowNS, d.slowAtNS = silent, t
		}
		k.completed, k.movedNS, k.moved = now[i].Completed, t, true
	}
}

// find returns a disk, or nil.
func (d *disks) find(name string) *disk {
	for i := range d.known[:d.n] {
		if d.known[i].name == name {
			return &d.known[i]
		}
	}
	return nil
}

// silentNS returns for how long nothing has been completed at time t: by the named disk if
// it is known and its count moves, or else by any. of is true in the first case.
func (d *disks) silentNS(name string, t int64) (silent int64, of bool) {
	if k := d.find(name); k != nil && k.moved {
		return t - k.movedNS, true
	}
	silent = t - d.known[0].movedNS
	for i := range d.known[:d.n] {
		silent = min(silent, t-d.known[i].movedNS)
	}
	return silent, false
}

// evidence describes the disks that have been silent for longest: the named one, or all
// up to a bound.
func (d *disks) evidence(to []string, name string, t int64) []string {
	const most = 4
	for i := range d.known[:d.n] {
		k := &d.known[i]
		if name != "" && k.name != name {
			continue
		}
		if len(to) >= maxShown+most {
			break
		}
		to = append(to, fmt.Sprintf("disk %s has completed nothing for %d ms, and %d requests since boot", k.name,
			(t-k.movedNS)/1e6, k.completed))
	}
	return to
}

// needIO returns for how long, in ns, a wait for I/O must last without any completion to
// be a hang. If the disks' counts are known it is twice the threshold, or twice the longest
// silence that ended lately if that is more, but at most the time of the late decision.
func (r *taskRule) needIO() int64 {
	if r.disks.n == 0 {
		return int64(r.t.IO)
	}
	return max(2*int64(r.t.IO), min(2*r.disks.slowNS, int64(r.t.Waiting)))
}

// stuckIO decides on a wait for I/O of that age, in ns.
//
// A disk that completes nothing for some seconds may be stuck or slow. While it completes
// nothing the guest cannot tell: the requests lie with the disk in both cases, and nothing
// in the guest's memory differs until one comes back. So no rule calls a stall after 2.5 s
// and is silent about the first request that takes 4 s. A disk that was fast until now does
// not decide it either, because every disk is fast before it becomes slow. The rule waits
// 5 s, twice io_ms, for the first request. After that it knows the disk: it waits twice the
// longest silence of the last minute.
//
// If the disks cannot be read, only the ends of waits show that I/O goes on, and the rule
// waits io_ms as it did before it read disks.
func (r *taskRule) stuckIO(w *wait, age, t int64) bool {
	need := r.needIO()
	others := r.ioEndNS == 0 || t-r.ioEndNS >= need // no other wait for I/O has ended
	if age < need || r.disks.n == 0 {
		return age >= need && others
	}
	silent, of := r.disks.silentNS(w.disk, t)
	return silent >= need && (of || others)
}

// WaitsForIO reports whether a thread waits for I/O, by its stack and its flag.
func WaitsForIO(w *Waiting) bool {
	kind, _, _ := reasonOf(w)
	return kind == ClassIO
}
