// gRPC in Go without generated code: messages are strings as bytes, so that the four languages speak alike.
//
//	grpc serve PORT              prints "listening"
//	grpc call HOST PORT COUNT    prints each answer on a line
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type text struct{}

func (text) Marshal(value any) ([]byte, error) { return []byte(*value.(*string)), nil }
func (text) Unmarshal(data []byte, value any) error {
	*value.(*string) = string(data)
	return nil
}
func (text) Name() string { return "proto" }

func greet(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var said string
	if err := decode(&said); err != nil {
		return nil, err
	}
	answer := "hello " + said
	return &answer, nil
}

// Each message comes back, until the client has said all.
func chat(_ any, stream grpc.ServerStream) error {
	for {
		var said string
		if err := stream.RecvMsg(&said); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer := "again " + said
		if err := stream.SendMsg(&answer); err != nil {
			return err
		}
	}
}

var service = grpc.ServiceDesc{
	ServiceName: "zoo.Greeter",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Greet", Handler: greet}},
	Streams:     []grpc.StreamDesc{{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true}},
}

func serve(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodec(text{}))
	server.RegisterService(&service, struct{}{})
	fmt.Println("listening")
	return server.Serve(listener)
}

func call(host, port, count string) error {
	connection, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, port),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(text{})))
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	stream, err := connection.NewStream(context.Background(), &service.Streams[0], "/zoo.Greeter/Chat")
	if err != nil {
		return err
	}
	for i := range times {
		said, answer, again := fmt.Sprint("call ", i), "", ""
		if err := connection.Invoke(context.Background(), "/zoo.Greeter/Greet", &said, &answer); err != nil {
			return err
		}
		if err := stream.SendMsg(&said); err != nil {
			return err
		}
		if err := stream.RecvMsg(&again); err != nil {
			return err
		}
		fmt.Println(answer, again)
	}
	return stream.CloseSend()
}

func main() {
	words := os.Args[1:]
	err := fmt.Errorf("usage: grpc serve PORT | call HOST PORT COUNT")
	if len(words) == 2 && words[0] == "serve" {
		err = serve(words[1])
	} else if len(words) == 4 && words[0] == "call" {
		err = call(words[1], words[2], words[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
