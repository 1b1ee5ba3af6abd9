package xentest

import (
	"maps"
	"slices"
	"strings"
	"syscall"

	"hangbench/cgo/xenctrl"
)

// tree is xenstore's nodes that were written, by path. A node also exists if one
// below it does.
type tree map[string]string

func (t *tree) write(path, value string) {
	if *t == nil {
		*t = tree{}
	}
	(*t)[path] = value
}

func (t tree) remove(path string) {
	maps.DeleteFunc(t, func(p, _ string) bool { return p == path || strings.HasPrefix(p, path+"/") })
}

// children returns the names below a node.
func (t tree) children(path string) []string {
	var names []string
	for p := range t {
		if rest, ok := strings.CutPrefix(p, path+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (t tree) has(path string) bool {
	_, ok := t[path]
	return ok || len(t.children(path)) > 0
}

// storeConn is a connection to the host's xenstore.
type storeConn struct{ h *Host }

// do is a call about one path.
func (c *storeConn) do(op, path string, f func(t *tree) syscall.Errno) error {
	defer c.h.lock()()
	err := c.h.enter(op)
	if err == nil {
		errno := syscall.EINVAL
		if !strings.Contains(path, "\x00") && path != "" {
			errno = f(&c.h.store)
		}
		if errno == 0 {
			return nil
		}
		err = failed(op, errno)
	}
	err.(*xenctrl.Error).Path = path
	return err
}

func (c *storeConn) Read(path string) (value []byte, err error) {
	err = c.do("xs_read", path, func(t *tree) syscall.Errno {
		if !t.has(path) {
			return syscall.ENOENT
		}
		value = []byte((*t)[path])
		return 0
	})
	return value, err
}

func (c *storeConn) Write(path string, value []byte) error {
	return c.do("xs_write", path, func(t *tree) syscall.Errno { t.write(path, string(value)); return 0 })
}

func (c *storeConn) Directory(path string) (names []string, err error) {
	err = c.do("xs_directory", path, func(t *tree) syscall.Errno {
		if !t.has(path) {
			return syscall.ENOENT
		}
		names = t.children(path)
		return 0
	})
	return names, err
}

// Remove removes a node. As with xenstored it is no error if the node does not
// exist and its parent does.
func (c *storeConn) Remove(path string) error {
	return c.do("xs_rm", path, func(t *tree) syscall.Errno {
		if parent := path[:max(strings.LastIndexByte(path, '/'), 0)]; !t.has(path) && !t.has(parent) {
			return syscall.ENOENT
		}
		t.remove(path)
		return 0
	})
}

func (c *storeConn) Close() {}
