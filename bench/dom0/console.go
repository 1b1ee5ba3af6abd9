package dom0

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hangbench/results"
)

// Consoles is the folder in which xenconsoled logs the consoles of guests, if it is
// started with --log=guest.
const Consoles = "/var/log/xen/console"

// console reads the log of a guest's console from the time when it was opened.
type console struct {
	f    *os.File
	from int64 // length of the log when it was opened
	buf  []byte
}

// openConsole opens the log of the console of the guest of that name, in the folder
// dir. The error is os.ErrNotExist if consoles are not logged.
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

// read returns bytes that have arrived since the last call, at most 16 KiB. They are
// valid until the next call.
func (c *console) read() ([]byte, error) {
	n, err := c.f.Read(c.buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the guest's console: %w", err)
	}
	return c.buf[:n], nil
}

// end returns the last kilobytes that have arrived since the console was opened,
// whether they have been read or not.
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

// close closes the log.
func (c *console) close() error { return c.f.Close() }
