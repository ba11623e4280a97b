package zoo;

public interface Greeter {
    String greet(String said);
}
