#include <cstdlib>
#include <iostream>

int main(int count, char** words) {
    int sum = 0;
    for (int i = 1; i < count; ++i) sum += std::atoi(words[i]);
    std::cout << sum << std::endl;
}
