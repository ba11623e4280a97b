// Dubbo without a registry: Dubbo tri|dubbo serve PORT | Dubbo tri|dubbo call HOST PORT COUNT.
package zoo;

import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

public final class Dubbo {
    private static DubboBootstrap bootstrap(String name) {
        ApplicationConfig application = new ApplicationConfig(name);
        // No port of its own for operators, no metadata service: this is about calls.
        application.setQosEnable(false);
        application.setMetadataType("local");
        application.setRegisterMode("interface");
        return DubboBootstrap.getInstance().application(application).registry(new RegistryConfig("N/A"));
    }

    private static void serve(String protocol, int port) {
        ServiceConfig<Greeter> service = new ServiceConfig<>();
        service.setInterface(Greeter.class);
        service.setRef(said -> "hello " + said);
        bootstrap("zoo-server").protocol(new ProtocolConfig(protocol, port)).service(service).start();
        System.out.println("listening");
        DubboBootstrap.getInstance().await();
    }

    private static void call(String protocol, String host, int port, int count) {
        ReferenceConfig<Greeter> reference = new ReferenceConfig<>();
        reference.setInterface(Greeter.class);
        reference.setUrl(protocol + "://" + host + ":" + port);
        reference.setTimeout(60_000);
        bootstrap("zoo-client").reference(reference).start();
        for (int number = 0; number < count; number++) {
            System.out.println(reference.get().greet("call " + number));
        }
        // An orderly stop waits ten seconds for calls that nobody makes.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    public static void main(String[] words) {
        if (words[1].equals("serve")) serve(words[0], Integer.parseInt(words[2]));
        else call(words[0], words[2], Integer.parseInt(words[3]), Integer.parseInt(words[4]));
    }
}
