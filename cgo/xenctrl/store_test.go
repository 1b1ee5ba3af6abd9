package xenctrl

import (
	"errors"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memStore is a xenstore of one client.
type memStore struct {
	nodes   map[string]string
	watches map[string]string // path to token
	fired   [][2]string
	onPoll  func()
}

func pathError(op, path string, e syscall.Errno) error {
	err := newError(op, e)
	err.Path = path
	return err
}

func (m *memStore) read(path string) ([]byte, error) {
	v, ok := m.nodes[path]
	if !ok {
		return nil, pathError("xs_read", path, syscall.ENOENT)
	}
	return []byte(v), nil
}

func (m *memStore) write(path string, v []byte) error {
	m.nodes[path] = string(v)
	for w, token := range m.watches {
		if path == w || strings.HasPrefix(path, w+"/") {
			m.fired = append(m.fired, [2]string{path, token})
		}
	}
	return nil
}

func (m *memStore) directory(path string) ([]string, error) {
	set := map[string]bool{}
	for p := range m.nodes {
		if rest, ok := strings.CutPrefix(p, path+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			set[name] = true
		}
	}
	var names []string
	for n := range set {
		names = append(names, n)
	}
	sort.Strings(names)
	return names, nil
}

func (m *memStore) remove(path string) error { delete(m.nodes, path); return nil }

func (m *memStore) watch(path, token string) error {
	m.watches[path] = token
	m.fired = append(m.fired, [2]string{path, token})
	return nil
}

func (m *memStore) unwatch(path, token string) error { delete(m.watches, path); return nil }

func (m *memStore) nextWatch(timeout time.Duration) (string, string, bool, error) {
	if m.onPoll != nil {
		m.onPoll()
	}
	if len(m.fired) == 0 {
		return "", "", false, nil // as after a signal: earlier than asked for
	}
	f := m.fired[0]
	m.fired = m.fired[1:]
	return f[0], f[1], true, nil
}

func (m *memStore) close() {}

func TestDomainByName(t *testing.T) {
	s := &Store{c: &memStore{nodes: map[string]string{
		"/local/domain/0/name": "Domain-0", "/local/domain/3/name": "g", "/local/domain/4/vm": "x", "/local/domain/odd/name": "g2",
	}}}
	if id, err := s.DomainByName("g"); err != nil || id != 3 {
		t.Errorf("g: %d %v", id, err)
	}
	for _, name := range []string{"g2", "x", ""} {
		if _, err := s.DomainByName(name); !errors.Is(err, ErrNoDomain) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if DomainPath(12) != "/local/domain/12" {
		t.Error(DomainPath(12))
	}
}

func TestWaitValue(t *testing.T) {
	m := &memStore{nodes: map[string]string{}, watches: map[string]string{}}
	s := &Store{c: m}
	polls := 0
	m.onPoll = func() {
		if polls++; polls == 5 {
			m.write("/a/b", []byte("ready"))
		}
	}
	v, err := s.WaitValue("/a/b", time.Minute, func(v string) bool { return v == "ready" })
	if err != nil || v != "ready" || len(m.watches) != 0 {
		t.Errorf("%q %v, %d watches left", v, err, len(m.watches))
	}
	m.onPoll = nil
	v, err = s.WaitValue("/a/c", time.Millisecond, func(v string) bool { return v != "" })
	if !errors.Is(err, os.ErrDeadlineExceeded) || v != "" || len(m.watches) != 0 {
		t.Errorf("%q %v, %d watches left", v, err, len(m.watches))
	}
}

func TestStoreClose(t *testing.T) {
	s := &Store{c: &memStore{}}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
