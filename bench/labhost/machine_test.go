package labhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/wire"
)

// fakeProcess is an emulator whose com2 is a connection to a test. Its machine's time
// stands for silence: a read without data fails after a moment.
type fakeProcess struct {
	net.Conn
	dir  string
	done chan struct{}
}

func (p *fakeProcess) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := p.Conn.Read(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = &bochs.LimitError{After: patience}
	}
	return n, err
}

func (p *fakeProcess) Limit(time.Duration)              {}
func (p *fakeProcess) Done() <-chan struct{}            { return p.done }
func (p *fakeProcess) PID() int                         { return 4711 }
func (p *fakeProcess) Dir() string                      { return p.dir }
func (p *fakeProcess) conn() net.Conn                   { return p.Conn }
func (p *fakeProcess) Explain(op string, e error) error { return fmt.Errorf("%s: %w", op, e) }

// fake is a fakeProcess as a process: Conn is a method there, and a field here.
type fake struct{ *fakeProcess }

func (f fake) Conn() net.Conn { return f.conn() }

// withPeer returns a machine with an agent of the test's own, which gets the jobs and a
// connection to answer on.
func withPeer(t testing.TB, peer func(in *wire.Reader, conn net.Conn)) *Machine {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		peer(wire.NewReader(theirs), theirs)
		theirs.Close()
	}()
	p := fake{&fakeProcess{Conn: ours, dir: t.TempDir(), done: make(chan struct{})}}
	m := &Machine{p: p, in: wire.NewReader(p), run: folder{t.TempDir(), func() {}}}
	t.Cleanup(func() { m.Close() })
	return m
}

// job reads the next job. A harness begins to count its frames anew with each job.
func job(in *wire.Reader) (j agent.Job, err error) {
	for {
		m, err := in.Next()
		if gap := (*wire.GapError)(nil); errors.As(err, &gap) {
			continue
		}
		if err != nil {
			return j, err
		}
		return j, m.Decode(&j)
	}
}

// TestBadAgents: an agent that dies, lies or floods at any step is an error that says
// what came, and the machine's logs are kept.
func TestBadAgents(t *testing.T) {
	t.Parallel()
	message := func(write func(w *wire.Writer) error) []byte {
		var b bytes.Buffer
		if err := write(wire.NewWriter(&b)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	send := func(k wire.Kind, body string) []byte {
		return message(func(w *wire.Writer) error { return w.Write(k, []byte(body)) })
	}
	record := send(wire.KindRecord, `{"status":3}`)
	body := make([]byte, 6000) // it cannot be compressed, so the message has several frames
	rand.NewChaCha8([32]byte{}).Read(body)
	long := message(func(w *wire.Writer) error { return w.Write(wire.KindRecord, body) })
	for _, tc := range []struct {
		name string
		said []byte // the agent dies behind it
		stay bool   // it does not die, and says nothing more
		want string
	}{
		{"dies at once", nil, false, "wait for the agent in dom0: EOF"},
		{"says nothing", nil, true, "nothing came within 10m0s of the machine's time"},
		{"dies within a frame", record[:len(record)-9], false, "EOF"},
		{"is silent within a frame", record[:len(record)-9], true, "nothing came within"},
		{"dies within a message", long[:bytes.IndexByte(long, '\n')+1], false, "unexpected EOF"},
		{"noise", bytes.Repeat([]byte("(XEN) panic\r\n"), 5000), false, "EOF"},
		{"noise without lines", bytes.Repeat([]byte{0xff}, 1<<20), false, "EOF"},
		{"damage", bytes.Replace(record, []byte("3"), []byte("4"), 3), false, "EOF"},
		{"frames lost", append(send(wire.KindProgress, `{"stage":"x","up_ns":1}`), bytes.Replace(
			message(func(w *wire.Writer) error {
				return errors.Join(w.Write(wire.KindDone, nil), w.Write(wire.KindDone, nil),
					w.Write(wire.KindRecord, []byte("{}")))
			}), []byte("@hb1 2"), []byte("@hb1 x"), 1)...), false, "serial line"},
		{"another kind", send(wire.KindReady, `{}`), true, "the agent sent ready where record was due"},
		{"output without a program", send(wire.KindStdout, "x"), true, "the agent sent stdout where record was due"},
		{"no JSON", send(wire.KindRecord, `nonsense`), true, "decode record message"},
		{"half of JSON", send(wire.KindRecord, `{"status":`), true, "decode record message"},
		{"two values", send(wire.KindRecord, `{} {}`), true, "more than one JSON value"},
		{"unknown field", send(wire.KindRecord, `{"lie":1}`), true, "lie"},
		{"wrong type", send(wire.KindRecord, `{"status":"x"}`), true, "decode record message"},
		{"progress that is none", send(wire.KindProgress, `7`), true, "decode progress message"},
		{"failure that is none", send(wire.KindError, `7`), true, "decode error message"},
		{"failure", send(wire.KindError, `{"error":"no memory","console":"Kernel panic"}`), true,
			"run a job: dom0: no memory"},
		{"no such program", send(wire.KindError, `{"error":"run x: not found","no_program":true}`), true,
			"dom0: run x: not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := withPeer(t, func(in *wire.Reader, conn net.Conn) {
				if _, err := job(in); err != nil {
					t.Error(err)
				}
				conn.Write(tc.said)
				if tc.stay {
					job(in) // until the machine is closed
				}
			})
			var e agent.Exit
			err := m.do(agent.Job{Inspect: true}, &e, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if kept, mistake := m.keep.Load(), tc.name == "no such program"; kept == mistake {
				t.Errorf("the logs are kept: %v", kept)
			}
		})
	}
}

// TestFloodOfProgress: an agent that reports progress for ever is given up.
func TestFloodOfProgress(t *testing.T) {
	t.Parallel()
	m := withPeer(t, func(in *wire.Reader, conn net.Conn) {
		for w := wire.NewWriter(conn); w.Send(wire.KindProgress, agent.Progress{Stage: "x"}) == nil; {
		}
	})
	seen := 0
	err := m.expect(wire.KindRecord, nil, func(agent.Progress) { seen++ })
	want := "reported progress 100000 times and no result"
	if err == nil || seen != maxProgress || !strings.Contains(err.Error(), want) {
		t.Errorf("%d reports, %v", seen, err)
	}
}

// TestRun: a program's output comes as it is written, and its exit status.
func TestRun(t *testing.T) {
	t.Parallel()
	m := withPeer(t, func(in *wire.Reader, conn net.Conn) {
		w := wire.NewWriter(conn)
		for {
			j, err := job(in)
			if err != nil {
				return
			}
			err = errors.Join(w.Send(wire.KindProgress, agent.Progress{Stage: "run"}),
				w.Write(wire.KindStdout, []byte(strings.Join(j.Exec, " ")+"\xff\n")), w.Write(wire.KindStderr, []byte("oops\n")),
				w.Write(wire.KindStdout, []byte("more\n")), w.Send(wire.KindRecord, agent.Exit{Status: 7}))
			if err != nil {
				t.Error(err)
			}
		}
	})
	for _, argv := range [][]string{{"xl", "list"}, {"xl", "info"}} {
		var stdout, stderr bytes.Buffer
		status, err := m.Run(t.Context(), argv, &stdout, &stderr)
		want := strings.Join(argv, " ") + "\xff\nmore\n"
		if status != 7 || err != nil || stdout.String() != want || stderr.String() != "oops\n" {
			t.Errorf("%v: status %d, %v, %q, %q", argv, status, err, &stdout, &stderr)
		}
	}
}

// TestRunStops: a program is stopped when the context ends and when its output cannot
// be written, and the machine is ready for the next one. An agent that does not obey is
// given up.
func TestRunStops(t *testing.T) {
	t.Parallel()
	deaf := make(chan bool, 1)
	m := withPeer(t, func(in *wire.Reader, conn net.Conn) {
		w := wire.NewWriter(conn)
		for {
			j, err := job(in)
			if err != nil {
				return
			}
			if len(j.Exec) == 0 {
				t.Errorf("a stop that stops nothing: %+v", j)
			}
			if j.Exec[0] == "echo" {
				w.Write(wire.KindStdout, []byte("next\n"))
				w.Send(wire.KindRecord, agent.Exit{})
				continue
			}
			w.Write(wire.KindStdout, []byte("it begins\n"))
			if j, err = job(in); err != nil || !j.Stop {
				t.Errorf("while a program runs: %+v, %v", j, err)
			}
			if j.Exec = nil; len(deaf) == 0 {
				w.Send(wire.KindRecord, agent.Exit{Status: 137})
			}
		}
	})
	next := func() {
		t.Helper()
		var stdout bytes.Buffer
		status, err := m.Run(t.Context(), []string{"echo"}, &stdout, io.Discard)
		if status != 0 || err != nil || stdout.String() != "next\n" {
			t.Errorf("the next program: %d, %v, %q", status, err, &stdout)
		}
	}
	why := errors.New("the user has had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	status, err := m.Run(ctx, []string{"sleep"}, writerFunc(func([]byte) error { cancel(why); return nil }), io.Discard)
	if status != 137 || err != why {
		t.Errorf("interrupted: %d, %v", status, err)
	}
	next()
	full := errors.New("the disk is full")
	_, err = m.Run(t.Context(), []string{"sleep"}, writerFunc(func([]byte) error { return full }), io.Discard)
	if !errors.Is(err, full) {
		t.Errorf("output that cannot be written: %v", err)
	}
	next()
	deaf <- true
	ctx, cancel = context.WithCancelCause(t.Context())
	_, err = m.Run(ctx, []string{"sleep"}, writerFunc(func([]byte) error { cancel(why); return nil }), io.Discard)
	if limit := (*bochs.LimitError)(nil); !errors.As(err, &limit) {
		t.Errorf("an agent that does not obey: %v", err)
	}
}

// TestCloseWhileRunning: closing a machine ends a program's wait.
func TestCloseWhileRunning(t *testing.T) {
	t.Parallel()
	m := withPeer(t, func(in *wire.Reader, conn net.Conn) {
		job(in)
		w := wire.NewWriter(conn)
		for w.Send(wire.KindProgress, agent.Progress{Stage: "x"}) == nil {
			time.Sleep(time.Millisecond)
		}
	})
	time.AfterFunc(50*time.Millisecond, func() { m.p.Close() })
	if _, err := m.Run(t.Context(), []string{"sleep"}, io.Discard, io.Discard); err == nil {
		t.Error("it ended well")
	}
}

type writerFunc func([]byte) error

func (w writerFunc) Write(b []byte) (int, error) { return len(b), w(b) }

// readOnly is an emulator that says what it was given, and then ends.
type readOnly struct {
	fake
	r io.Reader
}

func (r readOnly) Read(b []byte) (int, error) { return r.r.Read(b) }

// FuzzAgent: whatever an agent says, a job ends, with a record or with an error.
func FuzzAgent(f *testing.F) {
	seed := func(write func(w *wire.Writer) error) {
		var b bytes.Buffer
		if err := write(wire.NewWriter(&b)); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	seed(func(w *wire.Writer) error {
		return errors.Join(w.Send(wire.KindProgress, agent.Progress{Stage: "x"}),
			w.Send(wire.KindRecord, agent.Exit{Status: 3}))
	})
	seed(func(w *wire.Writer) error {
		return errors.Join(w.Write(wire.KindStdout, []byte("x\x00")), w.Send(wire.KindError, agent.Failure{Error: "no"}))
	})
	f.Add([]byte("noise\n@hb1 1 record t 1/1 2 00000000 {}\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		p := readOnly{fake{&fakeProcess{Conn: ours, dir: t.TempDir(), done: make(chan struct{})}}, bytes.NewReader(said)}
		m := &Machine{p: p, in: wire.NewReader(p), run: folder{t.TempDir(), func() {}}}
		var out bytes.Buffer
		status, err := m.Run(t.Context(), []string{"x"}, &out, &out)
		if err != nil && status != 0 || out.Len() > 1<<10*len(said) {
			t.Fatalf("status %d, %v, %d bytes of output from %d", status, err, out.Len(), len(said))
		}
		m.Close()
		theirs.Close()
	})
}
