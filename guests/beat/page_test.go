package beat

import "testing"

func TestPage(t *testing.T) {
	t.Parallel()
	if _, err := New(make([]byte, 100)); err == nil {
		t.Error("a short page was accepted")
	}
	b := make([]byte, Size)
	p, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.Valid() {
		t.Error("an empty page is valid")
	}
	p.Init()
	p.Want(Busy)
	for cpu := range MaxCPUs {
		for range cpu + 1 {
			p.Beat(cpu)
		}
		p.Work(cpu)
	}
	// A second view of the same bytes, as dom0 has it.
	q, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	if !q.Valid() || q.Wanted() != "busy" || q.Active() != "idle" || !q.Runs(Idle) || q.Runs(Busy) {
		t.Errorf("valid %v wanted %v active %v", q.Valid(), q.Wanted(), q.Active())
	}
	if got, want := q.Count(MaxCPUs-1), (Count{MaxCPUs, 1}); got != want {
		t.Errorf("last vCPU: %v, want %v", got, want)
	}
	if got, want := q.Total(2), (Count{3, 2}); got != want {
		t.Errorf("total of 2: %v, want %v", got, want)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	p, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	if e, _, ok := p.Asked(); ok {
		t.Errorf("nothing was asked, and request %q came", e)
	}
	var before uint64
	for _, want := range []Request{Pass, Pass, Continue, Earlier} {
		token := p.Ask(want)
		if token == before || p.Answered(token) {
			t.Errorf("request %q counts as answered before it was", want)
		}
		e, got, ok := p.Asked()
		if !ok || e != want || got != token {
			t.Errorf("asked %q under %#x, got %q, %#x, %v", want, token, e, got, ok)
		}
		p.Answer(got)
		if _, _, ok := p.Asked(); ok || !p.Answered(token) {
			t.Errorf("request %q was answered and is still asked", want)
		}
		before = token
	}
}

// TestReplacedRequest: a request that replaces another one leaves its name alone: PID 1
// may be reading it.
func TestReplacedRequest(t *testing.T) {
	t.Parallel()
	p, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	first := p.Ask(Bomb)
	second := p.Ask(Kill)
	if got := unpack(*p.request(first)); got != string(Bomb) {
		t.Errorf("the first request became %q", got)
	}
	if r, token, ok := p.Asked(); !ok || r != Kill || token != second {
		t.Errorf("asked for %q under %d, %v, want the second request", r, token, ok)
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	p, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	p.Order(Order{Work: 3, Seconds: 2})
	token := p.Ask(Measure)
	if o := p.Ordered(); o != (Order{3, 2}) {
		t.Errorf("ordered %+v", o)
	}
	if s, ok := p.Delivered(token); ok {
		t.Errorf("%+v was delivered before anything was", s)
	}
	want := Sample{Ops: 1 << 40, NS: 2e9, Version: 1902}
	p.Deliver(token, want)
	if s, ok := p.Delivered(token); !ok || s != want {
		t.Errorf("delivered %+v, %v, want %+v", s, ok, want)
	}
	next := p.Ask(Measure)
	if s, ok := p.Delivered(next); ok {
		t.Errorf("%+v, of the one before, was taken for the next", s)
	}
	p.Deliver(next, Sample{Failed: true})
	if s, ok := p.Delivered(next); !ok || s != (Sample{Failed: true}) {
		t.Errorf("delivered %+v, %v, want a failure", s, ok)
	}
	// The lines of the vCPUs are their own.
	for cpu := range MaxCPUs {
		if c := p.Count(cpu); c != (Count{}) {
			t.Errorf("vCPU %d has counted %+v", cpu, c)
		}
	}
}

// TestNames: unpack returns the name that pack took, and pack refuses other texts.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "idle", "syscalls"} {
		if got := unpack(pack(name)); got != name {
			t.Errorf("%q comes back as %q", name, got)
		}
	}
	if got := unpack(0); got != "" {
		t.Errorf("an empty word is %q", got)
	}
	for _, name := range []string{"", "nine-long"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the name %q was taken", name)
				}
			}()
			pack(name)
		}()
	}
}

func TestAnnouncement(t *testing.T) {
	t.Parallel()
	a := Announcement{GFN: 0x1234, CPUs: 2, Release: "6.12.1-cloud"}
	got, err := ParseAnnouncement(a.String())
	if err != nil || got != a {
		t.Fatalf("ParseAnnouncement(%q) = %v, %v", a, got, err)
	}
	for _, bad := range []string{"", "v1", "v2 gfn=0x1 cpus=1 release=x", "v1 gfn=0 cpus=1 release=x",
		"v1 gfn=0x1 cpus=0 release=x", "v1 gfn=0x1 cpus=33 release=x", "v1 gfn=0x1 cpus=1 release=",
		"v1 gfn=0xffffffffffff cpus=1 release=x", "v1 gfn=1 gfn=2 cpus=1", "v1 gfn=1 cpus=1 colour=red",
		"v1 gfn=1 cpus=1 release=6\x1b[2J"} {
		if a, err := ParseAnnouncement(bad); err == nil {
			t.Errorf("ParseAnnouncement(%q) = %v, want an error", bad, a)
		}
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add("v1 gfn=0x1234 cpus=2 release=6.12")
	f.Add("v1 gfn= cpus= release=")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAnnouncement(s)
		if err != nil {
			return
		}
		if b, err := ParseAnnouncement(a.String()); err != nil || a != b {
			t.Errorf("%q parsed to %v, which does not survive a round trip: %v, %v", s, a, b, err)
		}
	})
}
