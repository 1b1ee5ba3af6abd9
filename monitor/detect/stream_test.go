package detect

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// made returns a recording of a made-up guest.
func made(h Header, vcpus, n int, each func(g *guest, i int)) (string, error) {
	var b strings.Builder
	r, err := NewRecorder(&b, h)
	if err != nil {
		return "", err
	}
	g := newGuest(vcpus)
	for i := range n {
		o := g.next()
		each(g, i)
		if err := r.Record(o); err != nil {
			return "", err
		}
	}
	err = r.Flush()
	return b.String(), err
}

// replay gives a stream to a detector and compares the first verdict with the one
// of the header. A control's stream must give none.
func replay(h Header, stream []Observation) error {
	v, undecided, err := Replay(h, stream)
	if err != nil {
		return err
	}
	after := v.TimeNS - h.FromNS
	switch {
	case v.Class == "" && h.Class == "":
	case v.Class == "":
		return fmt.Errorf("no verdict in %d observations, want %s; undecided:\n%s", len(stream), h.Class,
			strings.Join(undecided, "\n"))
	case v.Class != h.Class || v.Scope != h.Scope:
		return fmt.Errorf("%s (%s) %d ms after the fault, want %q (%s); evidence:\n%s", v.Class,
			v.Scope, after/ms, h.Class, h.Scope, strings.Join(v.Evidence, "\n"))
	case after < 0:
		return fmt.Errorf("%s %d ms before the fault", v.Class, -after/ms)
	case h.WithinNS != 0 && after > h.WithinNS:
		return fmt.Errorf("%s %d ms after the fault, want at most %d ms", v.Class, after/ms, h.WithinNS/ms)
	case h.Evidence != nil && (!slices.Equal(v.VCPUs, h.Affected) || !slices.Equal(v.Evidence, h.Evidence)):
		return fmt.Errorf("vCPUs %v, want %v; evidence:\n%s\nwant:\n%s", v.VCPUs, h.Affected,
			strings.Join(v.Evidence, "\n"), strings.Join(h.Evidence, "\n"))
	}
	return nil
}

var update = flag.Bool("update", false, "rewrite the vCPUs and the evidence in the headers of the recorded streams")

// expect writes the vCPUs and the evidence of a stream's first verdict into its
// header, and where the stream comes from. It leaves the observations as they are.
func expect(name string, h Header, stream []Observation) error {
	v, _, err := Replay(h, stream)
	if err != nil {
		return err
	}
	h.Affected, h.Evidence, h.Comment, h.CRC32C = v.VCPUs, v.Evidence, "", noSum
	var b strings.Builder
	r, err := NewRecorder(&b, h)
	if err != nil {
		return err
	}
	if err := r.Flush(); err != nil {
		return err
	}
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(old), "\n")
	text := []byte(b.String() + rest)
	seal(text)
	return os.WriteFile(name, text, 0o644)
}

// streamsBytes is the largest size of all recorded streams together.
const streamsBytes = 640 << 10

// TestStreams replays the recorded streams. Each holds its right verdict in its
// header.
func TestStreams(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/streams/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no stream was found")
	}
	classes := map[Class]int{}
	bytes := 0
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".jsonl"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			bytes += len(b)
			h, stream, err := ReadStream(strings.NewReader(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := expect(name, h, stream); err != nil {
					t.Fatal(err)
				}
			}
			if h.Host != "lab" || h.VCPUs != len(stream[0].VCPUs) || h.Guest == "" || h.MemoryMiB == 0 {
				t.Errorf("header %+v of a stream of %d vCPUs", h, len(stream[0].VCPUs))
			}
			if h.Class != "" && !*update && len(h.Evidence) == 0 {
				t.Error("the header has no evidence (go test -update writes it)")
			}
			if err := replay(h, stream); err != nil && !*update {
				t.Error(err)
			}
			classes[h.Class]++
			for _, other := range append(List(), Info{}) {
				if other.Class == h.Class {
					continue
				}
				// The same stream said to be of another class, or of none.
				wrong := h
				if wrong.Class = other.Class; wrong.Class == "" {
					wrong.Scope = ""
				}
				if replay(wrong, stream) == nil {
					t.Errorf("it passes for %q too", other.Class)
				}
			}
		})
	}
	if bytes > streamsBytes {
		t.Errorf("all streams are %d bytes, more than %d", bytes, streamsBytes)
	}
	for _, i := range append(List(), Info{}) {
		if classes[i.Class] == 0 {
			t.Errorf("no stream is of class %q", i.Class)
		}
	}
}

// TestReplay: a replay tells right from wrong.
func TestReplay(t *testing.T) {
	t.Parallel()
	spin := func(g *guest, i int) {
		if i >= 50 {
			g.run(0, slow, true).Lock = "rdi = tasklist_lock"
			g.wait(Waiting{PID: 3, Comm: "a", Stack: []string{"msleep"}})
		}
	}
	const fault = 6000 // ms, of observation 49
	spun := []string{
		"vCPU 0: no task switch for 500 ms while it ran 100% of the time",
		"vCPU 0: RIP in queued_read_lock_slowpath+0x20..0x20 at 5 of 5 samples, interrupts on at 5 of these",
		"vCPU 0: rdi = tasklist_lock",
	}
	right := Header{Class: ClassSpin, Scope: Full, FromNS: fault * ms, WithinNS: 700 * ms}
	for _, tc := range []struct {
		name   string
		change func(h *Header)
		each   func(g *guest, i int)
		want   string // of the error
	}{
		{"right", func(*Header) {}, spin, ""},
		{"control", func(h *Header) { *h = Header{} }, func(*guest, int) {}, ""},
		{"false alarm of a control", func(h *Header) { *h = Header{} }, spin, "spin (full)"},
		{"class", func(h *Header) { h.Class = ClassHard }, spin, `want "hard"`},
		{"scope", func(h *Header) { h.Scope = Partial }, spin, `(partial)`},
		{"early", func(h *Header) { h.FromNS += 2000 * ms }, spin, "before the fault"},
		{"late", func(h *Header) { h.WithinNS = 300 * ms }, spin, "want at most 300 ms"},
		{"late by its threshold",
			func(h *Header) { h.Thresholds = map[string]int64{"spin_ms": 1500} }, spin, "want at most 700 ms"},
		{"never", func(*Header) {}, func(*guest, int) {}, "no verdict in 100 observations"},
		{"evidence", func(h *Header) {
			h.Affected, h.Evidence = []int{0}, []string{"vCPU 0: no task switch for 500 ms while it ran 100% of the time"}
		}, spin, "want:\nvCPU 0: no task switch"},
		{"vCPUs", func(h *Header) { h.Affected, h.Evidence = []int{1}, spun }, spin, "vCPUs [0], want [1]"},
		{"the whole verdict", func(h *Header) { h.Affected, h.Evidence = []int{0}, spun }, spin, ""},
		{"where it comes from", func(h *Header) { h.Host, h.Guest, h.VCPUs, h.MemoryMiB = "xen", "6.1.0", 1, 512 }, spin, ""},
	} {
		h := right
		tc.change(&h)
		h.Observations = 100
		text, err := made(h, 1, 100, tc.each)
		if err != nil {
			t.Fatal(err)
		}
		got, stream, err := ReadStream(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if h.Schema = StreamSchema; !reflect.DeepEqual(got, h) || len(stream) != 100 {
			t.Errorf("%s: %d observations, header %+v, want %+v", tc.name, len(stream), got, h)
		}
		err = replay(got, stream)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		var again bytes.Buffer
		if err := WriteStream(&again, got, stream); err != nil || unsealed.ReplaceAllString(again.String(), "") != text {
			t.Errorf("%s: written again it is another stream (%v)", tc.name, err)
		}
	}
}

// unsealed finds the checksum in a header.
var unsealed = regexp.MustCompile(`,"crc32c":"[0-9a-f]{8}"`)

// TestStreamChecksum: no flipped bit of a stream is taken. A checksum that was set to ""
// and a header without one are not compared.
func TestStreamChecksum(t *testing.T) {
	t.Parallel()
	text, err := made(Header{Class: ClassSpin, Scope: Full, FromNS: 5}, 2, 3, func(*guest, int) {})
	if err != nil {
		t.Fatal(err)
	}
	h, stream, err := ReadStream(strings.NewReader(text)) // as an earlier program wrote it
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteStream(&b, h, stream); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	if again, same, err := ReadStream(bytes.NewReader(whole)); err != nil || again.CRC32C != "" ||
		again.Observations != 3 || !reflect.DeepEqual(same, stream) {
		t.Fatalf("%+v, %v", again, err)
	}
	for i := range 8 * len(whole) {
		harmed := bytes.Clone(whole)
		harmed[i/8] ^= 1 << (i % 8)
		if _, _, err := ReadStream(bytes.NewReader(harmed)); err == nil {
			t.Errorf("bit %d of byte %d is flipped, and the stream is taken: %q", i%8, i/8, harmed[max(0, i/8-9):i/8+1])
		}
	}
	other := bytes.Replace(whole, []byte(`"from_ns":5`), []byte(`"from_ns":6`), 1)
	if _, _, err := ReadStream(bytes.NewReader(other)); err == nil ||
		!strings.Contains(err.Error(), `set its "crc32c" to ""`) {
		t.Errorf("another time of the fault: %v", err)
	}
	other = unsealed.ReplaceAll(other, []byte(`,"crc32c":""`))
	if h, _, err := ReadStream(bytes.NewReader(other)); err != nil || h.FromNS != 6 {
		t.Errorf("changed on purpose: %v", err)
	}
}

// TestReadStreamPrintable: names in a stream can be printed, whoever recorded it.
func TestReadStreamPrintable(t *testing.T) {
	t.Parallel()
	const bad, safe = "\x1b[2J\nx", `\x1b[2J\nx`
	var b bytes.Buffer
	o := Observation{TimeNS: 1, VCPUs: []VCPU{{Symbol: bad, Queue: &RunQueue{Comm: bad}}}}
	if err := WriteStream(&b, Header{Schema: StreamSchema, Scenario: bad, Comment: bad}, []Observation{o}); err != nil {
		t.Fatal(err)
	}
	h, stream, err := ReadStream(&b)
	if err != nil || h.Observations != 1 || h.Scenario != safe || h.Comment != safe ||
		stream[0].VCPUs[0].Symbol != safe || stream[0].VCPUs[0].Queue.Comm != safe {
		t.Errorf("%v: %+v, %+v", err, h, stream)
	}
}

func TestReadStreamErrors(t *testing.T) {
	t.Parallel()
	const header = `{"schema":1,"class":""}` + "\n"
	const one = `{"time_ns":5,"vcpus":[{"online":true,"cpu_time_ns":1,"signals":0}]}` + "\n"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "it is empty"},
		{"no header", one, `line 1: there is no key "time_ns"`},
		{"schema", `{"schema":2,"class":""}` + "\n", "line 1: schema is 2, not 1"},
		{"class", `{"schema":1,"class":"slow"}` + "\n", `line 1: class "slow" is unknown`},
		{"scope", `{"schema":1,"class":"spin","scope":"half"}` + "\n", `scope "half" is unknown`},
		{"scope of a control", `{"schema":1,"class":"","scope":"full"}` + "\n", `without a class`},
		{"threshold", `{"schema":1,"class":"","thresholds":{"x_ms":1}}` + "\n", `"x_ms"`},
		{"negative", `{"schema":1,"class":"spin","within_ns":-1}` + "\n", "within_ns -1 is negative"},
		{"affected of a control", `{"schema":1,"class":"","affected":[0]}` + "\n", `affected or evidence without a class`},
		{"evidence of a control", `{"schema":1,"class":"","evidence":["x"]}` + "\n", `affected or evidence without a class`},
		{"most vCPUs of the guest", `{"schema":1,"class":"","vcpus":512,"memory_mib":0}` + "\n" + "{}", "line 2: "},
		{"vCPUs of the guest", `{"schema":1,"class":"","vcpus":513}` + "\n", `vcpus 513 is not in 0 to 512`},
		{"negative vCPUs", `{"schema":1,"class":"","vcpus":-1}` + "\n", `vcpus -1 is not in 0 to 512`},
		{"memory", `{"schema":1,"class":"","memory_mib":-1}` + "\n", `memory_mib -1 is negative`},
		{"key", header + `{"time_ns":5,"vcpus":[],"colour":1}` + "\n", `line 2: there is no key "colour"`},
		{"two on a line", header + `{"time_ns":5,"vcpus":[]} {}` + "\n", "line 2: more than one value"},
		{"cut off", header + one + `{"time_ns":6`, "line 3: it has no end: the stream was cut short"},
		{"cut off behind a line", `{"schema":1,"class":"","observations":2}` + "\n" + one,
			"it has 1 of the 2 observations that were recorded"},
		{"one too many", `{"schema":1,"class":"","observations":-1}` + "\n" + one, "it has 1 of the -1 observations"},
		{"time stands", header + one + one, "line 3: time 5 is not after 5"},
		{"blank line", header + "\n", "line 2: it is blank"},
		{"long line",
			header + `{"time_ns":5,"vcpus":[` + strings.Repeat(" ", maxLine) + "]}\n",
			"line 2: it is longer than 4 MiB, which no observation is"},
		{"vCPUs", header + `{"time_ns":5,"vcpus":[` + strings.Repeat("{},", maxVCPUs) + "{}]}\n", "513 vCPUs, more than 512"},
	} {
		_, _, err := ReadStream(strings.NewReader(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
	most := header + `{"time_ns":5,"vcpus":[` + strings.Repeat("{},", maxVCPUs-1) + "{}]}\n"
	if _, stream, err := ReadStream(strings.NewReader(most)); err != nil || len(stream[0].VCPUs) != maxVCPUs {
		t.Errorf("as many vCPUs as can be: %v", err)
	}
	if _, _, err := ReadStream(strings.NewReader(`{"schema":1,"class":"","observations":1}` + "\n" + one)); err != nil {
		t.Errorf("as many observations as were recorded: %v", err)
	}
	for _, c := range Classes() { // also what no observation shows
		if _, _, err := ReadStream(strings.NewReader(`{"schema":1,"class":"` + string(c) + `"}` + "\n")); err != nil {
			t.Error(err)
		}
	}
	_, stream, err := ReadStream(strings.NewReader(header + one))
	if err != nil || len(stream) != 1 || stream[0].TimeNS != 5 || !stream[0].VCPUs[0].Online {
		t.Errorf("%+v, error %v", stream, err)
	}
}

// TestUpgrade: the header of an older stream says in its comment where it comes
// from.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	const comment = "host lab, 2 vCPU, 160 MiB, guest kernel 6.12.118+deb13-cloud-amd64"
	read := Header{Comment: comment, Host: "lab", VCPUs: 2, MemoryMiB: 160, Guest: "6.12.118+deb13-cloud-amd64"}
	for _, tc := range []struct {
		name     string
		in, want Header
	}{
		{"older", Header{Comment: comment}, read},
		{"newer", Header{Comment: comment, Host: "xen"}, Header{Comment: comment, Host: "xen"}},
		{"newer, only the vCPUs", Header{Comment: comment, VCPUs: 1}, Header{Comment: comment, VCPUs: 1}},
		{"newer, only the memory", Header{Comment: comment, MemoryMiB: 1}, Header{Comment: comment, MemoryMiB: 1}},
		{"newer, only the kernel", Header{Comment: comment, Guest: "6.1"}, Header{Comment: comment, Guest: "6.1"}},
		{"most vCPUs", Header{Comment: "host lab, 512 vCPU, 0 MiB, guest kernel 6"},
			Header{Comment: "host lab, 512 vCPU, 0 MiB, guest kernel 6", Host: "lab", VCPUs: 512, Guest: "6"}},
		{"fewest vCPUs", Header{Comment: "host lab, 0 vCPU, 1 MiB, guest kernel 6"},
			Header{Comment: "host lab, 0 vCPU, 1 MiB, guest kernel 6", Host: "lab", MemoryMiB: 1, Guest: "6"}},
	} {
		var b strings.Builder
		if err := WriteStream(&b, tc.in, nil); err != nil {
			t.Fatal(err)
		}
		got, _, err := ReadStream(strings.NewReader(b.String()))
		if tc.want.Schema = StreamSchema; err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v (%v)", tc.name, got, tc.want, err)
		}
	}
}

// TestUpgradeOther: a comment of another form says nothing.
func TestUpgradeOther(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{
		"",
		"a Friday",
		"host lab 2 vCPU, 160 MiB, guest kernel 6",
		"host lab, 2 vCPU, 160 MiB",
		"host lab, 513 vCPU, 160 MiB, guest kernel 6",
		"host lab, -1 vCPU, 160 MiB, guest kernel 6",
		"host lab, 1 vCPU, -1 MiB, guest kernel 6",
	} {
		h := Header{Comment: comment}
		if h.upgrade(); !reflect.DeepEqual(h, Header{Comment: comment}) {
			t.Errorf("%q: %+v", comment, h)
		}
	}
}

// fullDisk is a writer that takes some bytes and then no more.
type fullDisk struct{ free int }

var errFull = errors.New("no space")

func (f *fullDisk) Write(b []byte) (int, error) {
	if len(b) > f.free {
		return 0, errFull
	}
	f.free -= len(b)
	return len(b), nil
}

func TestRecorderErrors(t *testing.T) {
	t.Parallel()
	o := newGuest(1).next()
	r, err := NewRecorder(&fullDisk{5000}, Header{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil && i < 1000; i++ {
		err = r.Record(o)
	}
	if !errors.Is(err, errFull) {
		t.Errorf("recording on a full disk: %v", err)
	}
	if err := r.Flush(); !errors.Is(err, errFull) {
		t.Errorf("flushing to a full disk: %v", err)
	}
	if err := WriteStream(&fullDisk{}, Header{}, []Observation{*o}); !errors.Is(err, errFull) {
		t.Errorf("writing to a full disk: %v", err)
	}
}

// FuzzReadStream: no text panics it; what it accepts can be written, and is then
// read as the same.
func FuzzReadStream(f *testing.F) {
	text, err := made(Header{Class: ClassSpin, Scope: Full}, 2, 3, func(g *guest, i int) {
		g.run(0, slow, true).Callers = []string{"a"}
		g.wait(Waiting{PID: 3, Comm: "a", Stack: []string{"msleep"}})
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text))
	var sealed bytes.Buffer
	if err := WriteStream(&sealed, Header{}, nil); err != nil {
		f.Fatal(err)
	}
	f.Add(sealed.Bytes())
	f.Add([]byte(`{"schema":1,"class":""}` + "\n" + `{"time_ns":-5,"vcpus":[],"kernel":{"panicking":-1}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, stream, err := ReadStream(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteStream(&again, h, stream); err != nil {
			t.Fatal(err)
		}
		text := again.String()
		h, stream, err = ReadStream(&again)
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		var third bytes.Buffer
		if err := WriteStream(&third, h, stream); err != nil || third.String() != text {
			t.Fatalf("written again it is another stream (%v):\n%s%s", err, text, third.String())
		}
		if err := replay(h, stream); err != nil && errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}
