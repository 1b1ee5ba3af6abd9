package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// script renders messages the way a Writer does, one string a frame.
func script(t *testing.T, write func(w *Writer) error) []string {
	t.Helper()
	var b bytes.Buffer
	if err := write(NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	frames := strings.SplitAfter(b.String(), "\n")
	return frames[:len(frames)-1]
}

func TestWriterText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := NewWriter(&b)
	steps := []error{
		w.Sync(2),
		w.Send(KindReady, nil),
		w.Send(KindProgress, map[string]any{"step": "attach", "n": 3}),
		w.Write(KindError, []byte("größer als @hb1 ")),
		w.Write(KindError, []byte("two\nlines")),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	const want = "\n\n" +
		"@hb1 1 ready t 1/1 0 a88a74dd \n" +
		`@hb1 2 progress t 1/1 23 31738924 {"n":3,"step":"attach"}` + "\n" +
		"@hb1 3 error t 1/1 18 40d83258 größer als @hb1 \n" +
		"@hb1 4 error z 1/1 20 caace987 KinP58rJzEstBgQAAP//\n"
	if got := b.String(); got != want {
		t.Errorf("the writer wrote\n%s\nwant\n%s", got, want)
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		w    io.Writer
		kind Kind
		body []byte
		want string
	}{
		{"kind", io.Discard, "jobs", nil, `"jobs" is not a kind of message`},
		{"size", io.Discard, KindRecord, make([]byte, MaxMessage+1), "more than the"},
		{"writer", iotest.TruncateWriter(errWriter{broken}, 0), KindJob, []byte("x"), ""},
		{"error", errWriter{broken}, KindJob, []byte("x"), "write a job message: broken"},
		{"short", shortWriter{}, KindJob, []byte("x"), io.ErrShortWrite.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := NewWriter(tc.w)
			err := w.Write(tc.kind, tc.body)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	w := NewWriter(errWriter{broken})
	if w.Write(KindJob, nil) == nil || !errors.Is(w.Sync(1), broken) {
		t.Error("writing goes on after half a frame")
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

type shortWriter struct{}

func (shortWriter) Write(b []byte) (int, error) { return len(b) - 1, nil }

// TestRoundTrip sends bodies of all shapes through readers that deliver the
// stream in different portions.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	random := make([]byte, 50_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	bodies := [][]byte{
		{}, []byte("{}"), []byte("@hb1 1 ready t 1/1 0 a88a74dd "), {0}, []byte("\r\n"), []byte("ends in a return\r"),
		{0xff, 0xfe},
		bytes.Repeat([]byte("a"), readableSize), bytes.Repeat([]byte("a"), readableSize+1),
		bytes.Repeat([]byte(`{"trial":17,"spin":true},`), 4000),
		random, random[:pieceSize/4*3], random[:pieceSize/4*3+1],
		bytes.Repeat([]byte{0}, MaxMessage),
	}
	portions := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r },
		"half":  iotest.HalfReader,
		"eof":   iotest.DataErrReader,
		"bytes": iotest.OneByteReader,
	}
	for name, portion := range portions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := NewWriter(&b)
			for _, body := range bodies {
				if err := w.Write(KindRecord, body); err != nil {
					t.Fatal(err)
				}
			}
			rd := NewReader(portion(&b))
			rd.Noise = func(b []byte) { t.Errorf("noise %q", b) }
			rd.next = 1
			for i, body := range bodies {
				m, err := rd.Next()
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				if m.Kind != KindRecord || !bytes.Equal(m.Body, body) {
					t.Errorf("message %d: %d bytes of kind %s came back changed", i, len(body), m.Kind)
				}
			}
			if _, err := rd.Next(); err != io.EOF {
				t.Errorf("at the end: %v, want EOF", err)
			}
		})
	}
}

// TestReader reads damaged streams and checks everything that Next returns.
func TestReader(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{0, 1, 2, 3, 5, 7, 11}, 1)
	for i := range 6000 { // does not compress
		long = append(long, byte(i*i>>3)^byte(i*7919>>5)^long[i/3])
	}
	f := script(t, func(w *Writer) error {
		return errors.Join(w.Write(KindReady, nil), w.Write(KindError, []byte("one")), w.Write(KindError, []byte("two")),
			w.Write(KindRecord, long), w.Write(KindDone, nil))
	})
	if len(f) < 7 {
		t.Fatalf("the long record makes only %d frames", len(f)-4)
	}
	ready, one, two, first, second, done := f[0], f[1], f[2], f[3], f[4], f[len(f)-1]
	rest := strings.Join(f[4:len(f)-1], "")
	n := len(f) // sequence number of done
	swap := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q does not contain %q", s, old)
		}
		return strings.Replace(s, old, new, 1)
	}
	reframe := func(seq uint64, kind Kind, e encoding, piece, pieces int, payload string) string {
		return string(frame{seq, kind, e, piece, pieces, []byte(payload)}.line())
	}

	for _, tc := range []struct {
		name   string
		expect uint64
		in     string
		want   string // what Next returned, joined with "; "
		noise  string // what Noise was handed, joined with "|"
	}{
		{"clean", 1, ready + one + two, "ready; error one; error two; EOF", ""},
		{"empty", 0, "", "EOF", ""},
		{"no newline at the end", 0, ready + strings.TrimSpace(one), "ready; EOF", strings.TrimSpace(one)},
		{"blank lines", 1, "\n\n" + ready + "\r\n\n" + one, "ready; error one; EOF", ""},
		{"carriage returns", 1, swap(ready, "\n", "\r\n") + swap(one, "\n", "\r\n"), "ready; error one; EOF", ""},
		{"kernel message between", 1, ready + "[   12.345678] xen: hello\n" + one, "ready; error one; EOF",
			"[   12.345678] xen: hello"},
		{"NULs before", 1, "\x00\x00\x00" + ready + one, "ready; error one; EOF", "\x00\x00\x00"},
		{"half a frame before", 1, ready[:9] + ready + one, "ready; error one; EOF", ready[:9]},
		{"kernel message inside", 1, ready + one[:20] + "[ 1.0] oops\n" + one[20:] + two,
			"ready; gap 2 3; error two; EOF", one[:20] + "[ 1.0] oops|" + strings.TrimSuffix(one[20:], "\n")},
		{"one bit of the payload", 1, ready + swap(one, "one", "one"[:2]+"d") + two, "ready; gap 2 3; error two; EOF",
			strings.TrimSuffix(swap(one, "one", "ond"), "\n")},
		{"one digit of the number", 1, ready + swap(one, " 2 error", " 7 error") + two, "ready; gap 2 3; error two; EOF",
			strings.TrimSuffix(swap(one, " 2 error", " 7 error"), "\n")},
		{"other kind", 1, ready + swap(one, " error", " job") + two, "ready; gap 2 3; error two; EOF",
			strings.TrimSuffix(swap(one, " error", " job"), "\n")},
		{"one frame lost", 1, ready + two, "ready; gap 2 3; error two; EOF", ""},
		{"first frame lost", 1, one + two, "gap 1 2; error one; error two; EOF", ""},
		{"first frame unknown", 0, one + two, "error one; error two; EOF", ""},
		{"twice", 1, ready + one + one + two, "ready; error one; gap 3 2; error one; error two; EOF", ""},
		{"started again", 1, ready + one + two + ready + one, "ready; error one; error two; gap 4 1; ready; error one; EOF",
			""},
		{"long message", 4, first + rest + done, fmt.Sprintf("record %d bytes; done; EOF", len(long)), ""},
		{"long message cut off", 4, first + second, "unexpected EOF", ""},
		{"long message without its beginning", 0, rest + done, "done; EOF", ""},
		{"piece lost", 4, first + swap(rest, second, "") + done, "gap 5 6; done; EOF", ""},
		{"two pieces lost", 1, ready + one + two + rest + done, "ready; error one; error two; gap 4 5; done; EOF", ""},
		{"last piece lost", 4, first + second + done, fmt.Sprintf("gap 6 %d; done; EOF", n), ""},
		{"piece without the first", 1, ready + reframe(2, KindError, 't', 2, 2, "x") + reframe(3, KindDone, 't', 1, 1, ""),
			"ready; protocol 2; done; EOF", ""},
		{"message within a message", 1, reframe(1, KindError, 't', 1, 2, "x") + reframe(2, KindDone, 't', 1, 1, ""),
			"protocol 2; done; EOF", ""},
		{"piece of another message", 1, reframe(1, KindError, 't', 1, 3, "x") + reframe(2, KindJob, 't', 2, 3, "y") +
			reframe(3, KindJob, 't', 3, 3, "z") + reframe(4, KindDone, 't', 1, 1, ""),
			"protocol 2; done; EOF", ""},
		{"bad base64", 1, reframe(1, KindError, 'z', 1, 1, "%%%") + reframe(2, KindDone, 't', 1, 1, ""),
			"protocol 1; done; EOF", ""},
		{"bad deflate", 1, reframe(1, KindError, 'z', 1, 1, "//////8") + reframe(2, KindDone, 't', 1, 1, ""),
			"protocol 1; done; EOF", ""},
		{"sign in a number", 1, reframe(1, KindError, 't', +1, 1, "x") + "@hb1 +2 error t 1/1 0 00000000 \n", "error x; EOF",
			"@hb1 +2 error t 1/1 0 00000000 "},
		{"long noise", 1, ready + strings.Repeat("x", MaxLine+1) + one + one + two, "ready; error one; error two; EOF",
			strings.Repeat("x", MaxLine+1) + strings.TrimSuffix(one, "\n")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, portion := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
				var noise []string
				r := NewReader(portion(strings.NewReader(tc.in)))
				r.next = tc.expect
				r.Noise = func(b []byte) { noise = append(noise, string(b)) }
				var got []string
				for range 100 {
					m, err := r.Next()
					got = append(got, describe(m, err))
					if err == io.EOF || err == io.ErrUnexpectedEOF {
						break
					}
				}
				if s := strings.Join(got, "; "); s != tc.want {
					t.Errorf("Next returned %s\nwant %s", s, tc.want)
				}
				joined := strings.Join(noise, "|")
				if tc.name == "long noise" { // handed over in portions
					joined = strings.Join(noise, "")
				}
				if joined != tc.noise {
					t.Errorf("noise %q, want %q", joined, tc.noise)
				}
			}
		})
	}
}

func describe(m Message, err error) string {
	var gap *GapError
	var protocol *ProtocolError
	switch {
	case errors.As(err, &gap):
		return fmt.Sprintf("gap %d %d", gap.Want, gap.Got)
	case errors.As(err, &protocol):
		return fmt.Sprintf("protocol %d", protocol.Seq)
	case err != nil:
		return err.Error()
	case len(m.Body) > 100:
		return fmt.Sprintf("%s %d bytes", m.Kind, len(m.Body))
	}
	return strings.TrimSpace(string(m.Kind) + " " + string(m.Body))
}

// TestEveryBit flips each bit of a frame in turn. None may be taken for data.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	f := script(t, func(w *Writer) error {
		return errors.Join(w.Write(KindRecord, []byte(`{"ept_violations":1440}`)), w.Write(KindDone, nil))
	})
	for i := range (len(f[0]) - 1) * 8 {
		damaged := []byte(f[0])
		damaged[i/8] ^= 1 << (i % 8)
		r := NewReader(io.MultiReader(bytes.NewReader(damaged), strings.NewReader("\n"+f[1])))
		r.next = 1
		_, err := r.Next()
		var gap *GapError
		if !errors.As(err, &gap) {
			t.Fatalf("bit %d of byte %d (%q) flipped: %v, want a gap", i%8, i/8, f[0][i/8], err)
		}
	}
}

// TestDeadline checks that an error of the connection in the middle of a line
// costs nothing.
func TestDeadline(t *testing.T) {
	t.Parallel()
	f := script(t, func(w *Writer) error { return w.Write(KindError, []byte("hello")) })
	line := f[0]
	r := NewReader(io.MultiReader(strings.NewReader(line[:11]),
		iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(line[11:])))))
	r.next = 1
	if _, err := r.Next(); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("error %v, want a timeout", err)
	}
	m, err := r.Next()
	if err != nil || string(m.Body) != "hello" {
		t.Errorf("after the timeout: %q, %v", m.Body, err)
	}
}

func TestNoProgress(t *testing.T) {
	t.Parallel()
	if _, err := NewReader(emptyReader{}).Next(); err != io.ErrNoProgress {
		t.Errorf("error %v, want %v", err, io.ErrNoProgress)
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestTooLong(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	pieces := maxText/pieceSize + 2
	for i := range pieces {
		b.Write(frame{uint64(i + 1), KindRecord, encodingText, i + 1, pieces, bytes.Repeat([]byte("x"), pieceSize)}.line())
	}
	b.Write(frame{uint64(pieces + 1), KindDone, encodingText, 1, 1, nil}.line())
	r := NewReader(&b)
	_, err := r.Next()
	var protocol *ProtocolError
	if !errors.As(err, &protocol) {
		t.Fatalf("error %v, want a protocol error", err)
	}
	if m, err := r.Next(); err != nil || m.Kind != KindDone {
		t.Errorf("after it: %v, %v", m.Kind, err)
	}

	// A small message that unpacks to more than anybody may send.
	_, text, err := NewWriter(io.Discard).encode(bytes.Repeat([]byte{0}, MaxMessage+1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decode(encodingDeflate, text, MaxMessage); err == nil {
		t.Error("a message that unpacks to more than MaxMessage was accepted")
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	type job struct {
		Trial int `json:"trial"`
	}
	for _, tc := range []struct{ body, want string }{
		{`{"trial":3}`, ""},
		{`{"trial":"x"}`, "decode job message 9"},
		{`{"other":3}`, "unknown field"},
		{`{"trial":3}{}`, "more than one"},
		{``, "EOF"},
	} {
		var j job
		err := Message{Seq: 9, Kind: KindJob, Body: []byte(tc.body)}.Decode(&j)
		if tc.want == "" {
			if err != nil || j.Trial != 3 {
				t.Errorf("%s: %+v, %v", tc.body, j, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.body, err, tc.want)
		}
	}
}

// TestWriterConcurrent has goroutines share a writer, as an agent's tasks do.
func TestWriterConcurrent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := NewWriter(&b)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 20 {
				if err := w.Send(KindRecord, strings.Repeat(string(rune('a'+g)), i*500)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	r := NewReader(&b)
	r.next = 1
	for range 8 * 20 {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		var s string
		if err := m.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if s != "" && strings.Trim(s, s[:1]) != "" {
			t.Fatal("two messages mixed")
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Error(err)
	}
}

// FuzzReader: for any bytes, Next comes to the end, returns only messages that a
// Writer could have written, and finds the message on the line behind them.
func FuzzReader(f *testing.F) {
	seed := func(write func(w *Writer) error) []byte {
		var b bytes.Buffer
		if err := write(NewWriter(&b)); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	good := seed(func(w *Writer) error {
		return errors.Join(w.Write(KindReady, nil), w.Write(KindRecord, bytes.Repeat([]byte("0123456789abcdef\n"), 20)),
			w.Write(KindDone, nil))
	})
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(good[3:])
	f.Add([]byte("\x00\x00@hb1 1 ready t 1/1 0 a88a74dd \r\n"))
	f.Add([]byte("@hb1 @hb1 @hb1 1 2 3 4/5 6 7 8\n"))
	f.Add(frame{7, KindError, encodingText, 1, 3, []byte("x")}.line())
	f.Add(frame{7, KindError, encodingDeflate, 1, 1, []byte("AAAA")}.line())
	f.Add(bytes.Repeat([]byte("x"), MaxLine+2))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := frame{1 << 40, KindDone, encodingText, 1, 1, []byte("the end")}.line()
		stream := append(append(bytes.Clone(data), '\n'), last...)
		r := NewReader(bytes.NewReader(stream))
		found, noise := false, 0
		r.Noise = func(b []byte) { noise += len(b) }
		for range len(stream) + 2 {
			m, err := r.Next()
			if err == io.EOF {
				break
			}
			var gap *GapError
			var protocol *ProtocolError
			if err != nil && !errors.As(err, &gap) && !errors.As(err, &protocol) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				continue
			}
			if !m.Kind.Valid() || len(m.Body) > MaxMessage {
				t.Fatalf("message of kind %q with %d bytes", m.Kind, len(m.Body))
			}
			found = m.Seq == 1<<40 && string(m.Body) == "the end"
		}
		if !found {
			t.Fatal("the message behind the noise was not the last that was found")
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("no end: %v", err)
		}
		if noise > len(data) {
			t.Fatalf("%d bytes of noise in %d bytes", noise, len(data))
		}
	})
}

// FuzzRoundTrip writes any body and reads it back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("job", []byte(`{"cells":[1,2,3]}`))
	f.Add("record", bytes.Repeat([]byte{0xff, '\n'}, 3000))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		var b bytes.Buffer
		err := NewWriter(&b).Write(Kind(kind), body)
		if !Kind(kind).Valid() {
			if err == nil {
				t.Fatalf("kind %q was accepted", kind)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b.Bytes()) {
			if len(line)-1 > MaxLine {
				t.Fatalf("a line of %d bytes", len(line))
			}
		}
		r := NewReader(&b)
		r.next = 1
		m, err := r.Next()
		if err != nil || m.Kind != Kind(kind) || !bytes.Equal(m.Body, body) {
			t.Fatalf("%q came back as %q: %v", body, m.Body, err)
		}
	})
}

func ExampleWriter() {
	w := NewWriter(os.Stdout)
	if err := w.Send(KindProgress, map[string]string{"step": "inject"}); err != nil {
		fmt.Println(err)
	}
	// Output: @hb1 1 progress t 1/1 17 a5b0f741 {"step":"inject"}
}
