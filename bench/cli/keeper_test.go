package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"hangbench/guests/lab"
)

// saidConn is a connection to a client that has said all that it will say.
type saidConn struct {
	net.Conn
	said  io.Reader
	heard bytes.Buffer
}

func (c *saidConn) Read(b []byte) (int, error)       { return c.said.Read(b) }
func (c *saidConn) Write(b []byte) (int, error)      { return c.heard.Write(b) }
func (c *saidConn) SetDeadline(time.Time) error      { return nil }
func (c *saidConn) SetReadDeadline(time.Time) error  { return nil }
func (c *saidConn) SetWriteDeadline(time.Time) error { return nil }

// listMachine is a machine that notes what it runs.
type listMachine struct {
	machine
	ran [][]string
}

func (m *listMachine) PID() int    { return 4711 }
func (m *listMachine) Dir() string { return "logs" }

func (m *listMachine) Run(_ context.Context, argv []string, stdout, stderr io.Writer) (int, error) {
	m.ran = append(m.ran, argv)
	_, err := io.WriteString(stdout, argv[0])
	return 3, err
}

// FuzzRequest: whatever a client says, a keeper answers its request and runs nothing else, or
// sends no answer.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{`{"exec":["xl","list"]}`, `{"stop":true}` + "\n", `{}`, `{"exec":[""]} {"stop":true}`,
		`{"exec":["x"],"stop":true}`, `{"exec":`, `[]`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		m, stopped := &listMachine{}, false
		k := newKeeper("lab")
		k.m, k.lab = m, "0123"
		k.stop = func(error) { stopped = true }
		close(k.ended)
		conn := &saidConn{said: bytes.NewReader(said)}
		k.client(t.Context(), conn)
		var r request
		bad := json.NewDecoder(bytes.NewReader(said)).Decode(&r) != nil
		var want [][]string
		if len(r.Exec) > 0 && !r.Stop && !bad {
			want = [][]string{r.Exec}
		}
		if !slices.EqualFunc(m.ran, want, slices.Equal) || stopped != (r.Stop && !bad) {
			t.Fatalf("it ran %q, want %q; stopped: %v", m.ran, want, stopped)
		}
		ends := 0
		for answers := json.NewDecoder(&conn.heard); ; {
			var a answer
			if err := answers.Decode(&a); errors.Is(err, io.EOF) {
				break
			} else if err != nil || ends > 0 {
				t.Fatalf("an answer behind the last, or none: %v", err)
			}
			if a.End {
				ends++
			}
		}
		if ends == 0 != bad {
			t.Fatalf("%d last answers to a request that can be read: %v", ends, !bad)
		}
	})
}

// FuzzAnswer: whatever a keeper answers, its client ends, with the last answer or with an
// error.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"name":"lab","end":true,"status":3}`, `{"stdout":"eA=="}{"stderr":"eQ=="}{"end":true}`,
		`{"end":true,"error":"no","usage":true}`, `{"busy":["x"],"busy_sec":-5}`, `{"end":`, `null`, `{"pid":1e99}`} {
		f.Add([]byte(seed))
	}
	cache := lab.Cache(f.TempDir())
	l, release, err := listen(f.Context(), cache, "lab")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close(); release() })
	says := make(chan []byte, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var r request
			json.NewDecoder(conn).Decode(&r)
			conn.Write(<-says)
			conn.Close()
		}
	}()
	f.Fuzz(func(t *testing.T, said []byte) {
		says <- said
		a, err := ask(t.Context(), cache, "lab", request{}, func(a answer) error {
			if a.End {
				t.Errorf("the last answer is passed on: %+v", a)
			}
			return nil
		})
		if err == nil && (!a.End || a.Error != "" || a.keeper != os.Getpid()) {
			t.Fatalf("%+v is taken for the last answer", a)
		}
	})
}
