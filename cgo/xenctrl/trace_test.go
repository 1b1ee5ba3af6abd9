package xenctrl

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// traceProducer writes a trace buffer as Xen does (xen/common/trace.c): records
// never wrap, padding records fill the end.
type traceProducer struct {
	ring *traceRing
	lost uint32
}

func newTraceBuffer(size int) *traceProducer {
	words := make([]uint64, (size+tbufData+7)/8)
	return &traceProducer{ring: &traceRing{cpu: 2, buf: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size+tbufData)}}
}

// record builds a record.
func record(event uint32, tsc uint64, extra ...uint32) []byte {
	head := event | uint32(len(extra))<<28
	var b []byte
	if tsc != 0 {
		head |= 1 << 31
	}
	b = binary.LittleEndian.AppendUint32(b, head)
	if tsc != 0 {
		b = binary.LittleEndian.AppendUint64(b, tsc)
	}
	for _, w := range extra {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func (p *traceProducer) write(b []byte) {
	size := p.ring.size()
	prod := p.ring.counter(tbufProd).Load()
	copy(p.ring.buf[tbufData+prod%size:], b)
	p.ring.counter(tbufProd).Store((prod + uint32(len(b))) % (2 * size))
}

func (p *traceProducer) toWrap() int {
	size := p.ring.size()
	return int(size - p.ring.counter(tbufProd).Load()%size)
}

func (p *traceProducer) padTo(n int) {
	space := p.toWrap()
	if n <= space {
		return
	}
	words := space/4 - 1
	if words > maxExtra {
		p.write(record(traceWrap, 1, make([]uint32, words-2)...))
		return
	}
	p.write(record(traceWrap, 0, make([]uint32, words)...))
}

// put writes a record, or counts it as lost.
func (p *traceProducer) put(b []byte) bool {
	_, used, err := p.ring.window()
	if err != nil {
		panic(err)
	}
	const lostSize = 28
	need := len(b) + 2*36 // the worst case of padding, twice
	if p.lost > 0 {
		need += lostSize
	}
	if int(used)+need > int(p.ring.size()) {
		p.lost++
		return false
	}
	if p.lost > 0 {
		p.padTo(lostSize)
		p.write(record(traceLost, 5, p.lost, 1<<16|2, 77, 1))
		p.lost = 0
	}
	p.padTo(len(b))
	p.write(b)
	return true
}

func TestTraceRing(t *testing.T) {
	for _, size := range []int{4096 - 8, 8192 - 8, 4096 - 8 - 4} {
		p := newTraceBuffer(size)
		var st TraceStats
		var rec Record
		next, seen, lost := uint32(0), uint32(0), uint32(0)
		for round := range 400 {
			for range round % 37 {
				extra := make([]uint32, next%8)
				for i := range extra {
					extra[i] = next + uint32(i)
				}
				tsc := uint64(0)
				if next%3 != 0 {
					tsc = uint64(next) << 20
				}
				if !p.put(record(0x82000+next%0x100, tsc, extra...)) {
					t.Fatal("buffer too small for the test")
				}
				next++
			}
			if err := p.ring.drain(&rec, &st, func(r *Record) {
				if r.CPU != 2 || r.Event != 0x82000+seen%0x100 || r.N != int(seen%8) || r.HasTSC != (seen%3 != 0) ||
					r.HasTSC && r.TSC != uint64(seen)<<20 || r.N > 0 && r.Extra[r.N-1] != seen+uint32(r.N)-1 || r.N < 7 &&
					r.Extra[6] != 0 {
					t.Fatalf("record %d came as %+v", seen, *r)
				}
				seen++
			}); err != nil {
				t.Fatal(err)
			}
		}
		if seen != next || st.Records != uint64(next) || st.Lost != 0 || st.Corrupt != 0 || st.Peak <= 0 || st.Peak > 1 {
			t.Errorf("size %d: %d of %d records, stats %+v", size, seen, next, st)
		}
		// Overflow: lost records are counted, the others are whole.
		for range 3 {
			for range 3000 {
				if !p.put(record(0x82000+next%0x100, 0, next)) {
					lost++
				}
				next++
			}
			kept := 0
			if err := p.ring.drain(&rec, &st, func(r *Record) { kept++ }); err != nil {
				t.Fatal(err)
			}
			if kept == 0 {
				t.Fatal("nothing kept")
			}
		}
		p.put(record(0x82000, 0)) // lets the last losses be written
		p.ring.drain(&rec, &st, func(*Record) {})
		if st.Lost != uint64(lost) || st.Gaps != 3 {
			t.Errorf("size %d: stats %+v after %d lost in 3 gaps", size, st, lost)
		}
	}
}

func TestTraceCorrupt(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p *traceProducer)
		want  string
	}{
		{"prod too big", func(p *traceProducer) { p.ring.counter(tbufProd).Store(2 * p.ring.size()) }, "positions"},
		{"cons odd", func(p *traceProducer) { p.ring.counter(tbufCons).Store(2) }, "positions"},
		{"overrun", func(p *traceProducer) { p.ring.counter(tbufProd).Store(p.ring.size() + 4) }, "in 1024"},
		{"record beyond the window", func(p *traceProducer) {
			p.write(record(0x82021, 0, 1, 2, 3))
			p.write(record(0x82021, 0, 1, 2, 3)[:8])
		}, "16 bytes with 8 bytes left"},
		{"record across the end", func(p *traceProducer) {
			p.ring.counter(tbufCons).Store(1024 - 8)
			p.ring.counter(tbufProd).Store(1024 - 8)
			p.write(record(0x82021, 0, 1))
			p.ring.counter(tbufProd).Store(1024)
			binary.LittleEndian.PutUint32(p.ring.buf[tbufData+1024-8:], 0xf0082021)
		}, "with 8 bytes left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTraceBuffer(1024)
			c.spoil(p)
			var st TraceStats
			var rec Record
			err := p.ring.drain(&rec, &st, func(*Record) {})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) || st.Corrupt != 1 {
				t.Errorf("%v, stats %+v", err, st)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	decode := func(b []byte) *Record {
		var r Record
		if n, err := decodeRecord(b, &r); err != nil || n != len(b) {
			t.Fatalf("%x: %d bytes, %v", b, n, err)
		}
		return &r
	}
	if reason, rip, ok := decode(record(0x81102, 9, 48, 0x81001234, 0xffffffff)).VMExit(); !ok ||
		reason != ExitEPTViolation || rip != 0xffffffff81001234 {
		t.Errorf("exit: %v %#x %v", reason, rip, ok)
	}
	if reason, rip, ok := decode(record(0x81002, 9, 12, 0x7c00)).VMExit(); !ok || reason != ExitHLT || rip != 0x7c00 {
		t.Errorf("exit in 32 bits: %v %#x %v", reason, rip, ok)
	}
	if !decode(record(0x81001, 9)).IsVMEntry() || decode(record(0x81002, 9, 1, 2)).IsVMEntry() {
		t.Error("entry")
	}
	if d, v, from, to, ok := decode(record(0x21001|2<<8|0<<4, 9, 5<<16|1)).Runstate(); !ok || d != 5 || v != 1 ||
		from != RunstateBlocked || to != RunstateRunning {
		t.Errorf("runstate: %d %d %d %d %v", d, v, from, to, ok)
	}
	if n, tsc, ok := decode(record(0x1f001, 9, 12, 0, 0x55, 1)).Lost(); !ok || n != 12 || tsc != 0x100000055 {
		t.Errorf("lost: %d %#x %v", n, tsc, ok)
	}
	want := NPF{GPA: 0x100fee123, MFN: 0x2345, Qual: NPFFetch | NPFEffRead | NPFEffWrite, Type: P2MRAM}
	if n, ok := decode(record(0x82021, 0, 0xfee123, 1, 0x2345, 0, 0x1c, 0)).NPF(); !ok || n != want ||
		n.GFN() != 0x100fee {
		t.Errorf("npf: %+v %v", n, ok)
	}
	// A record that is too short is no record of its kind.
	for _, ev := range []uint32{0x81102, 0x81002, 0x21001, 0x1f001, 0x82021} {
		r := decode(record(ev, 0))
		_, _, a := r.VMExit()
		_, _, _, _, c := r.Runstate()
		_, _, d := r.Lost()
		_, e := r.NPF()
		if a || c || d || e {
			t.Errorf("%#x without its words was decoded", ev)
		}
	}
}

func TestOwners(t *testing.T) {
	var o Owners
	see := func(cpu int, b []byte) {
		var r Record
		if _, err := decodeRecord(b, &r); err != nil {
			t.Fatal(err)
		}
		r.CPU = cpu
		o.Observe(&r)
	}
	if _, _, ok := o.Owner(0); ok {
		t.Error("an owner out of nothing")
	}
	run := func(d, v uint32) []byte { return record(0x21001|1<<8, 9, d<<16|v) }
	see(1, run(3, 1))
	see(0, run(0, 0))
	if d, v, ok := o.Owner(1); !ok || d != 3 || v != 1 {
		t.Errorf("cpu 1: %d %d %v", d, v, ok)
	}
	see(1, record(0x82021, 0, 0, 0, 0, 0, 0, 0))
	if d, _, ok := o.Owner(1); !ok || d != 3 {
		t.Error("forgotten")
	}
	see(1, record(0x21001|0<<8|2<<4, 9, 3<<16|1)) // runs no more
	if _, _, ok := o.Owner(1); ok {
		t.Error("blocked, and still the owner")
	}
	see(0, record(0x1f001, 9, 1, 0, 0, 0))
	if _, _, ok := o.Owner(0); ok {
		t.Error("records were lost, and the owner is still known")
	}
}

func TestNPFClass(t *testing.T) {
	const rw = NPFEffRead | NPFEffWrite
	for _, c := range []struct {
		name   string
		npf    NPF
		access Access
		altp2m bool
		want   NPFClass
	}{
		{"exec trap", NPF{Qual: NPFFetch | rw, MFN: 5}, AccessRW, false, NPFPermission},
		{"exec trap, kernel address", NPF{Qual: NPFFetch | rw | NPFGLAValid | NPFGLAFault, MFN: 5}, AccessRW, true,
			NPFPermission},
		{"page table read-only", NPF{Qual: NPFWrite | NPFEffRead | NPFGLAValid, MFN: 5}, AccessR, false, NPFPageWalk},
		{"no access at all", NPF{Qual: NPFRead, MFN: 5}, AccessN, true, NPFPermission},
		{"page not yet in the view", NPF{Qual: NPFRead, MFN: 5}, AccessRWX, true, NPFLazyCopy},
		{"page not yet in the view, default rw", NPF{Qual: NPFFetch, MFN: 5}, AccessRW, true, NPFLazyCopy},
		{"the same without altp2m", NPF{Qual: NPFRead, MFN: 5}, AccessRWX, false, NPFOther},
		{"hole", NPF{Qual: NPFRead, MFN: ^uint64(0), Type: P2MEmulated}, AccessRWX, true, NPFMMIO},
		{"ioapic", NPF{Qual: NPFWrite, MFN: ^uint64(0), Type: P2MEmulated, GPA: 0xfec00010}, AccessRWX, false, NPFMMIO},
		{"superpage", NPF{Qual: NPFFetch | rw, MFN: 5}, AccessRWX, false, NPFSuperpage},
		{"log dirty", NPF{Qual: NPFWrite | NPFEffRead | NPFEffExec, MFN: 5, Type: P2MLogDirty}, AccessRWX, false,
			NPFLogDirty},
		{"populate on demand", NPF{Qual: NPFWrite, MFN: ^uint64(0), Type: P2MPopulateOnDemand}, AccessRWX, false,
			NPFPopulate},
		{"spurious", NPF{Qual: NPFWrite | NPFEffRead | NPFEffWrite | NPFEffExec, MFN: 5}, AccessRWX, false, NPFOther},
	} {
		if got := c.npf.Class(c.access, c.altp2m); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	names := map[string]bool{}
	for c := NPFClass(0); c < NumNPFClasses; c++ {
		names[c.String()] = true
	}
	if len(names) != NumNPFClasses || names[""] {
		t.Errorf("names %v", names)
	}
}

func TestTraceFrames(t *testing.T) {
	info := make([]byte, 64)
	binary.LittleEndian.PutUint16(info, 2)          // pages
	binary.LittleEndian.PutUint16(info[2:], 4)      // cpu 0: words from 16 on
	binary.LittleEndian.PutUint16(info[2+2*2:], 14) // cpu 2: the last two words
	for i, v := range map[int]uint32{16: 100, 20: 7, 56: 9, 60: 0xffffffff} {
		binary.LittleEndian.PutUint32(info[i:], v)
	}
	got, err := traceFrames(info, 3)
	if want := [][]uint64{{100, 7}, nil, {9, 0xffffffff}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	binary.LittleEndian.PutUint16(info[2:], 15)
	if _, err := traceFrames(info, 3); !errors.Is(err, ErrCorrupt) {
		t.Errorf("list beyond the end: %v", err)
	}
	if _, err := traceFrames(info, 40); !errors.Is(err, ErrCorrupt) {
		t.Errorf("more CPUs than there is room for: %v", err)
	}
	if _, err := traceFrames(make([]byte, 64), 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no size: %v", err)
	}
}

// fakeTrace is a host with two physical CPUs, one of them with a buffer.
type fakeTrace struct {
	Hypervisor
	info   []byte
	buf    *traceProducer
	events uint32
	mask   []byte
	on     bool
	unmaps int
}

func (f *fakeTrace) CPUs() (int, int, error) { return 2, 1, nil }
func (f *fakeTrace) SetTraceMasks(events uint32, mask []byte) error {
	f.events, f.mask = events, mask
	return nil
}
func (f *fakeTrace) EnableTrace(uint) (uint64, uint64, error) {
	f.on = true
	return 1000, PageSize, nil
}
func (f *fakeTrace) DisableTrace() error { f.on = false; return nil }
func (f *fakeTrace) Unmap([]byte) error  { f.unmaps++; return nil }
func (f *fakeTrace) MapForeign(d DomID, p Prot, gfns []uint64, errs []int32) ([]byte, error) {
	if d == domXen && p == ReadOnly && reflect.DeepEqual(gfns, []uint64{1000}) {
		return f.info, nil
	}
	if d == domXen && p == ReadWrite && reflect.DeepEqual(gfns, []uint64{42}) {
		return f.buf.ring.buf, nil
	}
	panic("unexpected mapping")
}

func TestTraceSession(t *testing.T) {
	f := &fakeTrace{info: make([]byte, PageSize), buf: newTraceBuffer(PageSize - tbufData)}
	binary.LittleEndian.PutUint16(f.info, 1)
	binary.LittleEndian.PutUint16(f.info[4:], 2) // CPU 1
	binary.LittleEndian.PutUint32(f.info[8:], 42)
	f.buf.put(record(0x82000, 0)) // an earlier session's
	x := &Xen{hv: f}
	if _, err := x.OpenTrace(TraceConfig{}); err == nil {
		t.Error("a trace of nothing was opened")
	}
	tr, err := x.OpenTrace(TraceConfig{Events: TraceHandlers})
	if err != nil {
		t.Fatal(err)
	}
	if f.events != 0x82000 || !reflect.DeepEqual(f.mask, []byte{3}) || tr.rings[0].size() != PageSize-8 {
		t.Errorf("events %#x, CPUs %x, buffers of %d bytes", f.events, f.mask, tr.rings[0].size())
	}
	f.buf.put(record(0x82021, 0, 0x1000, 0, 1, 0, 0x1c, 0))
	n := 0
	see := func(r *Record) {
		n++
		if npf, ok := r.NPF(); !ok || npf.GFN() != 1 || r.CPU != 1 {
			t.Errorf("%+v", r)
		}
	}
	if err := tr.Drain(see); err != nil || n != 1 {
		t.Errorf("%d records, %v", n, err)
	}
	if err := tr.Drain(see); err != nil || n != 1 || tr.Stats().Records != 1 {
		t.Errorf("%d records, %v", n, err)
	}
	rec := record(0x82021, 0, 0x1000, 0, 1, 0, 0x1c, 0)
	if allocs := testing.AllocsPerRun(100, func() {
		f.buf.put(rec)
		tr.Drain(see)
	}); allocs != 0 {
		t.Errorf("%v allocations per drain", allocs)
	}
	if n != 1+101 { // AllocsPerRun warms up once
		t.Errorf("%d records", n)
	}
	if err := tr.Close(); err != nil || f.on || f.unmaps != 2 {
		t.Errorf("%v, still on: %v, %d unmapped", err, f.on, f.unmaps)
	}
	if err := tr.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(record(0x81102, 9, 48, 1, 2))
	f.Add(record(0x82021, 0, 1, 2, 3, 4, 5, 6))
	f.Add(record(0x1f001, 9, 12, 0, 1, 1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		n, err := decodeRecord(b, &r)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if n > len(b) || n%4 != 0 || r.N > maxExtra || r.Event>>28 != 0 {
			t.Fatalf("%d bytes, %+v", n, r)
		}
		again := record(r.Event, r.TSC, r.Extra[:r.N]...)
		if r.HasTSC == (r.TSC != 0) && !reflect.DeepEqual(again, b[:n]) {
			t.Fatalf("%x came back as %x", b[:n], again)
		}
		r.VMExit()
		r.Lost()
		r.Runstate()
		if npf, ok := r.NPF(); ok {
			if c := npf.Class(Access(r.Extra[0]), true); c >= NumNPFClasses {
				t.Fatal(c)
			}
		}
	})
}

func FuzzTraceRing(f *testing.F) {
	f.Add(uint32(0), uint32(44), append(record(0x81102, 9, 48, 1, 2), record(0x82021, 0, 1, 2, 3, 4)...))
	f.Add(uint32(500), uint32(20), record(0x1f002, 0))
	f.Fuzz(func(t *testing.T, cons, prod uint32, data []byte) {
		p := newTraceBuffer(512)
		copy(p.ring.buf[tbufData:], data)
		p.ring.counter(tbufCons).Store(cons)
		p.ring.counter(tbufProd).Store(prod)
		var st TraceStats
		var rec Record
		err := p.ring.drain(&rec, &st, func(*Record) {})
		if err != nil && (!errors.Is(err, ErrCorrupt) || st.Corrupt != 1) {
			t.Fatal(err, st)
		}
		if st.Records > 512/4 {
			t.Fatalf("%d records in 512 bytes", st.Records)
		}
		if got := p.ring.counter(tbufCons).Load(); cons < 1024 && prod < 1024 && err == nil && got != prod {
			t.Fatalf("stopped at %d of %d", got, prod)
		}
	})
}

func FuzzTraceFrames(f *testing.F) {
	f.Add([]byte{1, 0, 2, 0, 0, 0, 0, 0, 42, 0, 0, 0}, 1)
	f.Fuzz(func(t *testing.T, info []byte, cpus int) {
		if cpus > 1<<16 {
			return
		}
		lists, err := traceFrames(info, cpus)
		if err == nil && len(lists) != cpus {
			t.Fatalf("%d lists for %d CPUs", len(lists), cpus)
		}
	})
}
