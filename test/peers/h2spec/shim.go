package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"
)

const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader   = 9
	typeData      = 0
	typeHeaders   = 1
	endHeaders    = 0x4
	padded        = 0x8
	priority      = 0x20
	priorityBytes = 5
)

// shim is a listener on loopback. What connects there is carried to a server inside mutual TLS 1.3.
type shim struct {
	net.Listener
	address   string
	secure    *tls.Config
	authority string // requests are made CONNECTs to it on the way; empty: they stay what they are
	mutex     sync.Mutex
	servers   []*server // of the connections since the last call of begin
}

func listen(address string, certificate tls.Certificate, authority string) (*shim, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// h2spec judges HTTP/2, not certificates.
	secure := &tls.Config{
		Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
	}
	s := &shim{Listener: listener, address: address, secure: secure, authority: authority}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server := newServer()
			s.mutex.Lock()
			s.servers = append(s.servers, server)
			s.mutex.Unlock()
			go s.serve(client.(*net.TCPConn), server)
		}
	}()
	return s, nil
}

// begin forgets the connections of the cases before.
func (s *shim) begin() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.servers = nil
}

// said returns what both ends said on each connection of this case.
func (s *shim) said() [][]string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all [][]string
	for _, server := range s.servers {
		all = append(all, server.said())
	}
	return all
}

func (s *shim) serve(client *net.TCPConn, server *server) {
	defer client.Close()
	tunnel, err := tls.Dial("tcp", s.address, s.secure)
	if err != nil {
		server.note("shim: %v", err)
		return
	}
	defer tunnel.Close()
	server.note("shim: connected from %v", tunnel.LocalAddr())
	var both sync.WaitGroup
	both.Add(1)
	go func() {
		defer both.Done()
		server.copy(client, tunnel)
		client.CloseWrite()
	}()
	way := &rewriter{
		from: client, to: tunnel, server: server, authority: s.authority, decoder: hpack.NewDecoder(4096, nil),
	}
	server.note("h2spec: %v", way.copy())
	tunnel.CloseWrite()
	both.Wait()
}

// rewriter carries what h2spec sends. With an authority it makes CONNECTs of the requests that are valid ones. DATA waits for its
// window. All else passes as it is.
type rewriter struct {
	from      io.Reader
	to        io.Writer
	server    *server
	authority string
	decoder   *hpack.Decoder
}

// copy returns why it ended; io.EOF: h2spec did.
func (r *rewriter) copy() error {
	start := make([]byte, len(preface))
	n, err := io.ReadFull(r.from, start)
	if _, failed := r.to.Write(start[:n]); failed != nil || err != nil {
		return errors.Join(err, failed)
	}
	if string(start) != preface {
		return r.copyRest()
	}
	for {
		header := make([]byte, frameHeader)
		n, err := io.ReadFull(r.from, header)
		if err != nil {
			r.to.Write(header[:n])
			return err
		}
		length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		stream := binary.BigEndian.Uint32(header[5:]) &^ (1 << 31)
		r.server.note("h2spec: type %d, flags %#x, stream %d, length %d", header[3], header[4], stream, length)
		if header[3] == typeData {
			r.server.takeRoom(stream, length)
		}
		if r.authority == "" || header[3] != typeHeaders || header[4]&endHeaders == 0 {
			if _, err := r.to.Write(header); err != nil {
				return err
			}
			if _, err := io.CopyN(r.to, r.from, length); err != nil {
				return err
			}
			continue
		}
		payload := make([]byte, length)
		n, err = io.ReadFull(r.from, payload)
		if err != nil {
			r.to.Write(append(header, payload[:n]...))
			return err
		}
		if _, err := r.to.Write(r.headers(header, payload)); err != nil {
			return err
		}
	}
}

func (r *rewriter) copyRest() error {
	if _, err := io.Copy(r.to, r.from); err != nil {
		return err
	}
	return io.EOF
}

// headers returns the frame as it is to be sent.
func (r *rewriter) headers(header, payload []byte) []byte {
	unchanged := append(append([]byte{}, header...), payload...)
	before, block := 0, payload
	if header[4]&padded != 0 {
		if len(block) == 0 || int(block[0]) >= len(block) {
			return unchanged
		}
		block = block[1 : len(block)-int(block[0])]
		before = 1
	}
	if header[4]&priority != 0 {
		if len(block) < priorityBytes {
			return unchanged
		}
		block = block[priorityBytes:]
		before += priorityBytes
	}
	fields, err := r.decoder.DecodeFull(block)
	if err != nil {
		return unchanged
	}
	after := payload[before+len(block):]
	fresh := append(append(append([]byte{}, payload[:before]...), r.encode(fields)...), after...)
	made := append([]byte{}, header...)
	binary.BigEndian.PutUint32(made, uint32(len(fresh))<<8|uint32(header[3]))
	return append(made, fresh...)
}

// encode writes every field as a literal that is never indexed: the server's table stays empty, whatever we leave out.
func (r *rewriter) encode(fields []hpack.HeaderField) []byte {
	if isRequest(fields) {
		connect := []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: r.authority}}
		for _, field := range fields {
			if !strings.HasPrefix(field.Name, ":") {
				connect = append(connect, field)
			}
		}
		fields = connect
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		field.Sensitive = true
		encoder.WriteField(field)
	}
	return block.Bytes()
}

// isRequest tells a whole request (RFC 9113 section 8.3.1), its pseudo-header fields first, from h2spec's malformed ones.
func isRequest(fields []hpack.HeaderField) bool {
	wanted := map[string]int{":method": 1, ":scheme": 1, ":path": 1, ":authority": 1}
	regular := false
	for _, field := range fields {
		if !strings.HasPrefix(field.Name, ":") {
			regular = true
			continue
		}
		if regular || field.Value == "" {
			return false
		}
		wanted[field.Name]--
	}
	for _, left := range wanted {
		if left != 0 {
			return false
		}
	}
	return true
}
