package xenctrl

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Store is a connection to xenstore. It belongs to one goroutine.
type Store struct {
	c storeConn
}

// OpenStore connects to xenstore. It fails as [Open] does. (xs_open)
func OpenStore() (*Store, error) {
	c, err := openStore()
	if err != nil {
		return nil, err
	}
	return &Store{c: c}, nil
}

// Close ends the connection and its watches. (xs_close)
func (s *Store) Close() error {
	if s.c == nil {
		return ErrClosed
	}
	s.c.close()
	s.c = nil
	return nil
}

// Read returns the value of a node, or [ErrNotExist]. (xs_read)
func (s *Store) Read(path string) (string, error) {
	b, err := s.c.read(path)
	return string(b), err
}

// Write sets the value of a node and makes the nodes above it. (xs_write)
func (s *Store) Write(path, value string) error { return s.c.write(path, []byte(value)) }

// Directory lists the names below a node. (xs_directory)
func (s *Store) Directory(path string) ([]string, error) { return s.c.directory(path) }

// Remove deletes a node and what is below it. (xs_rm)
func (s *Store) Remove(path string) error { return s.c.remove(path) }

// Watch asks for news of a node and what is below it, under a token that
// NextWatch gives back. A watch fires once at once. (xs_watch)
func (s *Store) Watch(path, token string) error { return s.c.watch(path, token) }

// Unwatch ends a watch. (xs_unwatch)
func (s *Store) Unwatch(path, token string) error { return s.c.unwatch(path, token) }

// WatchEvent is one firing of a watch.
type WatchEvent struct {
	Path  string // what changed, at or below the watched node
	Token string
}

// NextWatch waits for a watch to fire; ok is false when the time is over. A
// negative timeout waits for ever. (xs_check_watch)
func (s *Store) NextWatch(timeout time.Duration) (ev WatchEvent, ok bool, err error) {
	deadline := time.Now().Add(timeout)
	for {
		ev.Path, ev.Token, ok, err = s.c.nextWatch(timeout)
		if ok || err != nil {
			return ev, ok, err
		}
		if timeout >= 0 {
			// A signal also ends the wait.
			if timeout = time.Until(deadline); timeout <= 0 {
				return WatchEvent{}, false, nil
			}
		}
	}
}

// WaitValue waits until a node has a value for which done is true and returns
// it, or fails with [os.ErrDeadlineExceeded]. A node that does not exist has the
// value "". Other watches of this connection that fire meanwhile are lost.
func (s *Store) WaitValue(path string, timeout time.Duration, done func(string) bool) (value string, err error) {
	const token = "wait-value"
	if err := s.Watch(path, token); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Unwatch(path, token)) }()
	for deadline := time.Now().Add(timeout); ; {
		_, ok, err := s.NextWatch(max(0, time.Until(deadline)))
		if err != nil {
			return "", err
		}
		v, err := s.Read(path)
		if err != nil && !errors.Is(err, ErrNotExist) {
			return "", err
		}
		if done(v) {
			return v, nil
		}
		if !ok {
			return v, fmt.Errorf("xenstore %s is %q after %v: %w", path, v, timeout, os.ErrDeadlineExceeded)
		}
	}
}

// DomainPath returns the node of a domain: /local/domain/ID.
func DomainPath(id DomID) string { return "/local/domain/" + strconv.Itoa(int(id)) }

// DomainByName finds the domain a toolstack has given this name, or
// [ErrNoDomain].
func (s *Store) DomainByName(name string) (DomID, error) {
	ids, err := s.Directory("/local/domain")
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 16)
		if err != nil {
			continue
		}
		got, err := s.Read(DomainPath(DomID(n)) + "/name")
		if errors.Is(err, ErrNotExist) {
			continue // gone meanwhile, or without a name yet
		}
		if err != nil {
			return 0, err
		}
		if got == name {
			return DomID(n), nil
		}
	}
	return 0, fmt.Errorf("domain %q: %w", name, ErrNoDomain)
}
