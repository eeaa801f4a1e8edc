package app;

public final class Main {
    public static void main(String[] words) {
        System.out.println("java " + Runtime.version().feature());
    }
}
