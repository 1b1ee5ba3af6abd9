package xenctrl

import (
	"errors"
	"fmt"
	"strconv"
)

// Store is a connection to xenstore. It belongs to one goroutine.
type Store struct {
	c StoreConn
}

// OpenStore connects to xenstore. It fails as [Open] does. (xs_open)
func OpenStore() (*Store, error) {
	c, err := openStore()
	if err != nil {
		return nil, err
	}
	return &Store{c: c}, nil
}

// NewStore is OpenStore on a given connection, for tests (package xentest).
func NewStore(c StoreConn) *Store { return &Store{c: c} }

// Close ends the connection. (xs_close)
func (s *Store) Close() error {
	if s.c == nil {
		return ErrClosed
	}
	s.c.Close()
	s.c = nil
	return nil
}

// Read returns the value of a node, or [ErrNotExist]. (xs_read)
func (s *Store) Read(path string) (string, error) {
	b, err := s.c.Read(path)
	return string(b), err
}

// Write sets the value of a node, and makes the node and those above it if they do not
// exist. (xs_write)
func (s *Store) Write(path, value string) error { return s.c.Write(path, []byte(value)) }

// Directory returns the names of the nodes below a node, or [ErrNotExist].
// (xs_directory)
func (s *Store) Directory(path string) ([]string, error) { return s.c.Directory(path) }

// Remove deletes a node and those below it. (xs_rm)
func (s *Store) Remove(path string) error { return s.c.Remove(path) }

// DomainPath returns the path of a domain's node: /local/domain/ID.
func DomainPath(id DomID) string { return "/local/domain/" + strconv.Itoa(int(id)) }

// DomainByName returns the domain to which a toolstack has given this name, or
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
			continue // it is gone, or has no name yet
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
