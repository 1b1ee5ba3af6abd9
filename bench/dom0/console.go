package dom0

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hangbench/results"
)

// Consoles is where xenconsoled logs the consoles of guests, if it is told to
// (--log=guest).
const Consoles = "/var/log/xen/console"

// console reads what a guest's console has said from now on.
type console struct {
	f    *os.File
	from int64 // where now was
	buf  []byte
}

// openConsole opens the console of the guest of that name.
func openConsole(dir, name string) (*console, error) {
	f, err := os.Open(filepath.Join(dir, "guest-"+name+".log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the guest's console is not logged: run xenconsoled with --log=guest: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	from, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	return &console{f, from, make([]byte, 16<<10)}, nil
}

// read returns what has arrived since the last call, or a part of it. The bytes
// are good until the next call.
func (c *console) read() ([]byte, error) {
	n, err := c.f.Read(c.buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	return c.buf[:n], nil
}

// end returns the end of what has been said since the console was opened, whether
// or not it has been read already: some kilobytes.
func (c *console) end() ([]byte, error) {
	st, err := c.f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	const most = 4 * results.MaxConsole // control characters among it are dropped
	from := max(c.from, st.Size()-most)
	b := make([]byte, max(0, st.Size()-from))
	n, err := c.f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	return b[:n], nil
}

// close closes it.
func (c *console) close() error { return c.f.Close() }
